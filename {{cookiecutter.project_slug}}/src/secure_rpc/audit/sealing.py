"""Closed files of a log, encrypted to a recipient: whoever takes the disk, or the service, reads none of them.

X25519 (RFC 7748) with a key made for each file, HKDF-SHA256 (RFC 5869), and ChaCha20-Poly1305 (RFC 8439) over pieces of
1 MiB whose nonce counts them and marks the last (the STREAM construction), so that none can be swapped or cut off. The
first line stays readable: where in the chain the file begins and ends. It is authenticated with the pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import orjson
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from secure_rpc.configuration import ConfigurationError

FORMAT = "secure_rpc audit segment 1"
PIECE_BYTES = 1 << 20
TAG_BYTES = 16
MAX_HEADER_BYTES = 4096
_REMEDY = "make one by: openssl genpkey -algorithm x25519"


class SealBroken(Exception):
    """A sealed file was changed, cut off, or is not for this key."""


def recipient(path: Path, place: str = "audit.recipient_file") -> X25519PublicKey:
    """Return the public key in a file.

    Raises:
        ConfigurationError: it holds none.
    """
    key = _loaded(path, place, load_pem_public_key)
    if not isinstance(key, X25519PublicKey):
        raise ConfigurationError(f"{place}: {path} is no X25519 public key; {_REMEDY}, and openssl pkey -pubout")
    return key


def identity(path: Path, place: str = "--identity") -> X25519PrivateKey:
    """Return the private key in a file.

    Raises:
        ConfigurationError: it holds none.
    """
    key = _loaded(path, place, lambda content: load_pem_private_key(content, None))
    if not isinstance(key, X25519PrivateKey):
        raise ConfigurationError(f"{place}: {path} is no X25519 private key; {_REMEDY}")
    return key


def seal(source: Callable[[int], bytes], to: X25519PublicKey, fields: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield what a sealed file consists of.

    Args:
        source: gives as many bytes as it is asked for, fewer at the end.
        to: the recipient.
        fields: what the first line says of the file.
    """
    own = X25519PrivateKey.generate()
    public = own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    header = orjson.dumps({**fields, "format": FORMAT, "public": public.hex(), "recipient": _raw(to).hex()}) + b"\n"
    yield header
    cipher, bound = _cipher(own.exchange(to), public, to), hashlib.sha256(header).digest()
    number, piece = 0, source(PIECE_BYTES)
    while True:
        following = source(PIECE_BYTES) if len(piece) == PIECE_BYTES else b""
        yield cipher.encrypt(_nonce(number, is_last=not following), piece, bound)
        if not following:
            return
        number, piece = number + 1, following


def header_of(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Return what the first line of a sealed file says, and the line.

    Raises:
        SealBroken: it is no sealed file.
    """
    line = file.readline(MAX_HEADER_BYTES)
    try:
        content = orjson.loads(line)
        if content["format"] != FORMAT:
            raise SealBroken("is sealed in a format that is not known")
        _ = content["public"], content["recipient"], content["file"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise SealBroken("is no sealed file") from None
    return content, line


def opened(file: IO[bytes], by: X25519PrivateKey) -> Iterator[bytes]:
    """Yield what was sealed, piece by piece; nothing of a piece that was changed.

    Raises:
        SealBroken: it was changed or cut off, or is for somebody else.
    """
    header, line = header_of(file)
    if header["recipient"] != _raw(by.public_key()).hex():
        raise SealBroken("is sealed for another key")
    try:
        public = bytes.fromhex(header["public"])
        shared = by.exchange(X25519PublicKey.from_public_bytes(public))
    except (ValueError, TypeError):
        raise SealBroken("is no sealed file") from None
    cipher, bound = _cipher(shared, public, by.public_key()), hashlib.sha256(line).digest()
    pieces = _pieces(file)
    for number, (piece, is_last) in enumerate(pieces):
        try:
            yield cipher.decrypt(_nonce(number, is_last=is_last), piece, bound)
        except InvalidTag:
            raise SealBroken(f"was changed or cut off, in its piece {number + 1}") from None


def _pieces(file: IO[bytes]) -> Iterable[tuple[bytes, bool]]:
    piece = file.read(PIECE_BYTES + TAG_BYTES)
    while True:
        following = file.read(PIECE_BYTES + TAG_BYTES)
        yield piece, not following
        if not following:
            return
        piece = following


def _loaded(path: Path, place: str, load: Callable[[bytes], Any]) -> Any:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{place}: {path} cannot be read ({error.strerror}); check the path") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{place}: {path} is no PEM key without a passphrase; {_REMEDY}") from None


def _raw(key: X25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _cipher(shared: bytes, public: bytes, to: X25519PublicKey) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt=public + _raw(to), info=FORMAT.encode()).derive(shared))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
