"""A token verified as most services do it: PyJWT, each time. It needs nothing of the generated service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt

AUDIENCE, ISSUER = "order-service", "https://issuer.example.org"
GROUPS = {"readers", "writers", "admins"}  # that may call what is measured
JWKS = Path(".dev/jwks.json")


class Verifier:
    """Knows the keys of the development issuer."""

    def __init__(self) -> None:
        """Read them."""
        keys = json.loads(JWKS.read_text(encoding="utf-8"))["keys"]
        self._keys = {key["kid"]: jwt.PyJWK(key).key for key in keys}

    def verify(self, authorization: str) -> dict[str, Any]:
        """Return the claims of a bearer token.

        Raises:
            ValueError: It is none that is good here.

        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise ValueError("no token")
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims: dict[str, Any] = jwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)
        except (jwt.InvalidTokenError, KeyError) as error:
            raise ValueError("the token is not good") from error
        if not GROUPS & set(claims.get("groups", ())):
            raise ValueError("no group that may call")
        return claims
