"""The keys of an issuer, from a JWKS file (RFC 7517)."""

from __future__ import annotations

from pathlib import Path

import jwt
import orjson

from secure_rpc.configuration import ConfigurationError

MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
MAX_FILE_BYTES = 1_000_000


class KeySet:
    """The public keys of one issuer, by key id.

    Args:
        file: the JWKS document.

    Raises:
        ConfigurationError: the file is missing, malformed, has no usable key, or holds a secret.
    """

    def __init__(self, file: Path) -> None:
        self._keys: dict[str, jwt.PyJWK] = {}
        for entry in _entries(file):
            key = _key(file, entry)
            if not isinstance(key.key_id, str):
                raise ConfigurationError(f'{file}: a key has no "kid" that is a text; tokens name their key by it')
            if key.key_id in self._keys:
                raise ConfigurationError(f'{file}: the "kid" {key.key_id!r} stands twice; keys need names of their own')
            self._keys[key.key_id] = key
        if not self._keys:
            raise ConfigurationError(f"{file}: has no key for signatures; no token could be verified")

    def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key of that id, None where there is none."""
        return self._keys.get(key_id)


def _entries(file: Path) -> list[dict[str, object]]:
    try:
        raw = file.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{file}: is larger than {MAX_FILE_BYTES} bytes; this is no JWKS")
        entries = orjson.loads(raw)["keys"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file}: cannot be read as a JWKS ({error!r}); run `make setup` or check it"
        ) from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigurationError(f'{file}: "keys" is no list of keys; this is no JWKS')
    for entry in entries:
        if entry.get("kty") == "oct" or "d" in entry:
            raise ConfigurationError(
                f"{file}: the key {entry.get('kid')!r} is a secret; a JWKS for verifying is public"
            )
    return [entry for entry in entries if entry.get("use", "sig") == "sig"]


def _key(file: Path, entry: dict[str, object]) -> jwt.PyJWK:
    try:
        key = jwt.PyJWK(entry)
    except (jwt.PyJWTError, NotImplementedError, TypeError, ValueError) as error:  # PyJWT lets some of these out
        raise ConfigurationError(f"{file}: the key {entry.get('kid')!r} cannot be used: {error}") from None
    bits = getattr(key.key, "key_size", MIN_RSA_BITS)
    if entry.get("kty") == "RSA" and bits < MIN_RSA_BITS:
        raise ConfigurationError(
            f"{file}: the key {entry.get('kid')!r} has {bits} bits; at least {MIN_RSA_BITS} are needed"
        )
    return key
