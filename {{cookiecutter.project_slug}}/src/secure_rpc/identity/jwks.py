"""The keys of an issuer, as its JWKS document has them (RFC 7517)."""

from __future__ import annotations

import jwt
import orjson

from secure_rpc.configuration import ConfigurationError

MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
MAX_BYTES = 1_000_000
KNOWN_TYPES = ("RSA", "EC", "OKP")  # others are ignored (RFC 7517, section 5): an issuer may be ahead of us


def parse_jwks(document: bytes, source: str) -> dict[str, jwt.PyJWK]:
    """Return the public keys for signatures, by key id.

    Args:
        document: the JWKS.
        source: where it comes from, for messages.

    Raises:
        ConfigurationError: it is malformed, has no usable key, or holds a secret.
    """
    keys: dict[str, jwt.PyJWK] = {}
    for entry in _entries(document, source):
        key = _key(source, entry)
        if not isinstance(key.key_id, str):
            raise ConfigurationError(f'{source}: a key has no "kid" that is a text; tokens name their key by it')
        if key.key_id in keys:
            raise ConfigurationError(f'{source}: the "kid" {key.key_id!r} stands twice; keys need names of their own')
        keys[key.key_id] = key
    if not keys:
        raise ConfigurationError(f"{source}: has no key for signatures; no token could be verified")
    return keys


def _entries(document: bytes, source: str) -> list[dict[str, object]]:
    if len(document) > MAX_BYTES:
        raise ConfigurationError(f"{source}: is larger than {MAX_BYTES} bytes; this is no JWKS")
    try:
        entries = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{source}: cannot be read as a JWKS ({error!r}); run `make setup` or check it"
        ) from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigurationError(f'{source}: "keys" is no list of keys; this is no JWKS')
    for entry in entries:
        if entry.get("kty") == "oct" or "d" in entry:
            raise ConfigurationError(
                f"{source}: the key {entry.get('kid')!r} is a secret; a JWKS for verifying is public"
            )
    return [entry for entry in entries if entry.get("use", "sig") == "sig" and entry.get("kty") in KNOWN_TYPES]


def _key(source: str, entry: dict[str, object]) -> jwt.PyJWK:
    try:
        key = jwt.PyJWK(entry)
    except (jwt.PyJWTError, NotImplementedError, TypeError, ValueError) as error:  # PyJWT lets some of these out
        raise ConfigurationError(f"{source}: the key {entry.get('kid')!r} cannot be used: {error}") from None
    bits = getattr(key.key, "key_size", MIN_RSA_BITS)
    if entry.get("kty") == "RSA" and bits < MIN_RSA_BITS:
        raise ConfigurationError(
            f"{source}: the key {entry.get('kid')!r} has {bits} bits; at least {MIN_RSA_BITS} are needed"
        )
    return key
