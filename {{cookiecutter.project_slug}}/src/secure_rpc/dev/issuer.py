"""An issuer of access tokens of our own, for development and tests."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm
from pydantic import Field

from secure_rpc.configuration import ConfigurationError, Section, did_you_mean, read_yaml
from secure_rpc.dev.authority import pem_of, write_private

LIFETIME_SECONDS = 3600


class Caller(Section):
    """Somebody to call as, in development."""

    subject: str = Field(min_length=1)
    tenants: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Callers(Section):
    """The file of them."""

    callers: dict[str, Caller]


class TokenIssuer:
    """Sign access tokens as RFC 9068 describes them, with ES256.

    Args:
        issuer: the `iss` claim.
        audience: the `aud` claim.
        key: on P-256; a new one where none is given.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        key: ec.EllipticCurvePrivateKey | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.key_id = _thumbprint(self.key)
        self._clock = clock

    @classmethod
    def load(cls, issuer: str, audience: str, key_file: Path) -> TokenIssuer:
        """Return an issuer whose key was saved before.

        Raises:
            ConfigurationError: the key cannot be read.
        """
        try:
            key = load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{key_file} cannot be read ({error}); run `make setup`") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{key_file} is no key of ours; delete it and run `make setup`")
        return cls(issuer, audience, key)

    def save(self, key_file: Path, jwks_file: Path) -> None:
        """Write the key, for the owner's eyes alone, and the JWKS, for those who verify."""
        write_private(key_file, pem_of(self.key))
        jwks_file.write_bytes(orjson.dumps(self.jwks(), option=orjson.OPT_INDENT_2) + b"\n")

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JWKS."""
        public = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": "ES256"}]}

    def token(self, caller: Caller, **claims: Any) -> str:
        """Return a token for a caller.

        Args:
            caller: who.
            claims: further ones, or others in place of the usual; None leaves one out.
        """
        given = self.claims(caller) | claims
        return self.sign({key: value for key, value in given.items() if value is not None})

    def claims(self, caller: Caller) -> dict[str, Any]:
        """Return what a token says of a caller."""
        now = self._clock()
        return {
            "iss": self.issuer,
            "sub": caller.subject,
            "aud": self.audience,
            "iat": int(now),
            "exp": int(now) + LIFETIME_SECONDS,
            "jti": secrets.token_hex(8),
            "tenant": list(caller.tenants),
            "groups": list(caller.groups),
        }

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """Return a token with these claims; `header` adds to `typ` and `kid`, or replaces them."""
        return jwt.encode(dict(claims), self.key, "ES256", {"typ": "at+jwt", "kid": self.key_id, **header})


def load_callers(file: Path) -> dict[str, Caller]:
    """Read the callers of development.

    Raises:
        ConfigurationError: what is wrong with the file.
    """
    return read_yaml(file).validated(Callers).callers


def find_caller(callers: Mapping[str, Caller], name: str) -> Caller:
    """Return a caller by name.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if name not in callers:
        raise ConfigurationError(f'there is no caller "{name}"; {did_you_mean(name, callers)}')
    return callers[name]


def _thumbprint(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a name for a key that follows from the key."""
    return f"dev-{key.public_key().public_numbers().x:x}"[:16]
