"""Checkpoints: signed lines of a chain. Who has no key can neither make a chain anew nor a line of his own true.

The key is an Ed25519 key in PEM, or a secret for HMAC-SHA256; what it is, its file tells. A checkpoint signs the hash
of the line before it, and so all lines before it, and the root of a tree over those since the checkpoint before.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from secure_rpc.configuration import ConfigurationError

CHECKPOINT = "checkpoint"  # the event
MIN_SECRET_BYTES = 32
KEY_ID_DIGITS = 16
SIGNED = ("chain", "seq", "prev", "time", "key", "from", "root")  # fields of a checkpoint, in this order
_PURPOSE = b"secure_rpc audit checkpoint 1\n"  # so that no signature made for another purpose will do


class Verifier(ABC):
    """What tells whether a checkpoint was signed by a key."""

    key_id: str

    @abstractmethod
    def is_signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a signature is of this key, and of this data."""


class Signer(Verifier):
    """What signs checkpoints."""

    @abstractmethod
    def sign(self, data: bytes) -> bytes:
        """Return the signature of data."""


class Secret(Signer):
    """HMAC-SHA256 (RFC 2104): who can verify can also sign.

    Args:
        secret: at least 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.key_id = self.sign(b"key id").hex()[:KEY_ID_DIGITS]

    def sign(self, data: bytes) -> bytes:
        """See `Signer`."""
        return hmac.digest(self._secret, data, "sha256")

    def is_signed(self, data: bytes, signature: bytes) -> bool:
        """See `Verifier`."""
        return hmac.compare_digest(self.sign(data), signature)


class PublicKey(Verifier):
    """Ed25519 (RFC 8032): who verifies needs no secret."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._public = key
        self.key_id = hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:KEY_ID_DIGITS]

    def is_signed(self, data: bytes, signature: bytes) -> bool:
        """See `Verifier`."""
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class PrivateKey(PublicKey, Signer):
    """The other half of a `PublicKey`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    def sign(self, data: bytes) -> bytes:
        """See `Signer`."""
        return self._private.sign(data)


def signer(path: Path, place: str = "audit.checkpoint_key_file") -> Signer:
    """Return what signs by the key in a file.

    Args:
        path: of the file.
        place: what names it, for the message.

    Raises:
        ConfigurationError: the file cannot be read, or holds no key that signs.
    """
    found = verifier(path, place)
    if not isinstance(found, Signer):
        raise ConfigurationError(f"{place}: {path} is a public key, which signs nothing; name the private one")
    return found


def verifier(path: Path, place: str = "--key") -> Verifier:
    """Return what verifies by the key in a file: a secret, or a private or public Ed25519 key.

    Raises:
        ConfigurationError: the file cannot be read, or holds no such key.
    """
    try:
        content = path.read_bytes()
        if b"-----BEGIN" not in content:
            return _secret(content.strip(), path, place)
        key = load_pem_public_key(content) if b"PUBLIC KEY" in content else load_pem_private_key(content, None)
    except OSError as error:
        raise ConfigurationError(f"{place}: {path} cannot be read ({error.strerror}); check the path") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{place}: {path} is no PEM key without a passphrase; {_REMEDY}") from None
    if isinstance(key, Ed25519PrivateKey):
        return PrivateKey(key)
    if isinstance(key, Ed25519PublicKey):
        return PublicKey(key)
    raise ConfigurationError(f"{place}: {path} is no Ed25519 key; {_REMEDY}")


_REMEDY = "make one by: openssl genpkey -algorithm ed25519"


def _secret(content: bytes, path: Path, place: str) -> Secret:
    if len(content) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"{place}: {path} holds {len(content)} bytes, and a secret has {MIN_SECRET_BYTES} at least; "
            "make one by: openssl rand -hex 32"
        )
    return Secret(content)


def signed_bytes(checkpoint: Mapping[str, Any]) -> bytes:
    """Return what is signed of a checkpoint.

    Raises:
        KeyError: it is no checkpoint.
    """
    return _PURPOSE + orjson.dumps([checkpoint[name] for name in SIGNED])
