"""JWT access tokens, verified locally (RFC 7519, RFC 8725, RFC 9068).

PyJWT checks signature, algorithm, issuer, audience and times. What it leaves open is checked here: the token's size,
its `typ`, that its issuer is one of ours before any key is looked for, and that its claims have the shape we rely on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jwt
from pydantic import Field, field_validator

from secure_rpc import errors
from secure_rpc.configuration import Section, did_you_mean
from secure_rpc.identity.jwks import KeySet

MAX_TOKEN_BYTES = 8192  # a 1 MB token costs 94 ms to parse
LAST_SECOND = 2**53  # floats count seconds one by one up to here
REQUIRED_CLAIMS = ["iss", "sub", "aud", "exp", "iat"]
ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})


class Issuer(Section):
    """An authority whose tokens are taken, and how its claims become a principal."""

    issuer: str = Field(min_length=1)  # the `iss` claim, compared as it stands
    jwks_file: Path
    audiences: tuple[str, ...] = Field(min_length=1)  # one of them must be in `aud`
    algorithms: tuple[str, ...] = ("ES256", "RS256")
    types: tuple[str, ...] = ("at+jwt",)  # of the header's `typ` (RFC 9068, section 2.1)
    leeway_seconds: float = Field(default=30.0, ge=0, le=300)
    tenant_claim: str = "tenant"
    groups_claim: str = "groups"

    @field_validator("algorithms")
    @classmethod
    def _only_signatures(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        for name in algorithms:
            if name not in ASYMMETRIC:
                raise ValueError(f"{name} is not an asymmetric signature; {did_you_mean(name, ASYMMETRIC)}")
        if not algorithms:
            raise ValueError("name at least one algorithm")
        return algorithms


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says, once it is verified."""

    issuer: str
    subject: str
    tenants: frozenset[str]
    groups: frozenset[str]
    expires_at_seconds: float  # Unix time, leeway included
    claims: dict[str, Any] = field(repr=False)


class TokenVerifier:
    """Verify tokens of several issuers, each by its own rules.

    Args:
        issuers: whose tokens are taken.
    """

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self._issuers = {issuer.issuer: (issuer, KeySet(issuer.jwks_file)) for issuer in issuers}

    def verify(self, token: str) -> Token:
        """Return what the token says.

        Raises:
            Unauthenticated: the token cannot be believed; the reason says why, the message not more than it must.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise _refused("TOKEN_TOO_LARGE")
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _refused("TOKEN_MALFORMED") from error
        issuer, keys = self._issuer_of(unverified)
        key = _key_of(header, issuer, keys)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(issuer.algorithms),
                audience=list(issuer.audiences),
                issuer=issuer.issuer,
                leeway=issuer.leeway_seconds,
                options={"require": REQUIRED_CLAIMS},
            )
        except jwt.PyJWTError as error:
            raise _refused(_REASONS.get(type(error), "TOKEN_INVALID")) from error
        return Token(
            issuer=issuer.issuer,
            subject=_text(claims, "sub"),
            tenants=_names(claims, issuer.tenant_claim),
            groups=_names(claims, issuer.groups_claim),
            expires_at_seconds=_seconds(claims, "exp") + issuer.leeway_seconds,
            claims=claims,
        )

    def _issuer_of(self, claims: dict[str, Any]) -> tuple[Issuer, KeySet]:
        name = claims.get("iss")
        known = self._issuers.get(name) if isinstance(name, str) else None
        if known is None:
            raise _refused("TOKEN_ISSUER_UNKNOWN")
        return known


def bearer_token(authorization: str) -> str:
    """Return the token of an `authorization` header (RFC 6750, section 2.1), "" where there is no header.

    Raises:
        Unauthenticated: the header has another scheme.
    """
    if not authorization:
        return ""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise errors.Unauthenticated('send "authorization: Bearer <token>"', reason="TOKEN_SCHEME_UNKNOWN")
    return token


Reason = Literal[
    "TOKEN_ALGORITHM_REFUSED",
    "TOKEN_AUDIENCE_WRONG",
    "TOKEN_CLAIM_MISSING",
    "TOKEN_EXPIRED",
    "TOKEN_INVALID",
    "TOKEN_ISSUER_UNKNOWN",
    "TOKEN_KEY_UNKNOWN",
    "TOKEN_MALFORMED",
    "TOKEN_NOT_YET_VALID",
    "TOKEN_SIGNATURE_WRONG",
    "TOKEN_TOO_LARGE",
    "TOKEN_TYPE_WRONG",
]

_REASONS: dict[type[jwt.PyJWTError], Reason] = {
    jwt.ExpiredSignatureError: "TOKEN_EXPIRED",
    jwt.ImmatureSignatureError: "TOKEN_NOT_YET_VALID",
    jwt.InvalidAlgorithmError: "TOKEN_ALGORITHM_REFUSED",
    jwt.InvalidAudienceError: "TOKEN_AUDIENCE_WRONG",
    jwt.InvalidIssuerError: "TOKEN_ISSUER_UNKNOWN",
    jwt.InvalidSignatureError: "TOKEN_SIGNATURE_WRONG",
    jwt.MissingRequiredClaimError: "TOKEN_CLAIM_MISSING",
}


def _refused(reason: Reason) -> errors.Unauthenticated:
    return errors.Unauthenticated("the token is not accepted", reason=reason)


def _key_of(header: dict[str, Any], issuer: Issuer, keys: KeySet) -> jwt.PyJWK:
    if header.get("alg") not in issuer.algorithms:
        raise _refused("TOKEN_ALGORITHM_REFUSED")
    kind = header.get("typ", "")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in issuer.types:
        raise _refused("TOKEN_TYPE_WRONG")  # an ID token, say, is no access token (RFC 8725, section 3.11)
    key_id = header.get("kid")
    key = keys.get(key_id) if isinstance(key_id, str) else None
    if key is None:
        raise _refused("TOKEN_KEY_UNKNOWN")
    return key


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise _refused("TOKEN_CLAIM_MISSING")
    return _sound(value)


def _seconds(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519, section 2); PyJWT takes texts, and numbers past all floats, too."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LAST_SECOND:
        raise _refused("TOKEN_MALFORMED")
    return float(value)


def _sound(text: str) -> str:
    """Refuse what is no Unicode: JSON can hold a lone surrogate, no log and no header can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused("TOKEN_MALFORMED") from error
    return text


def _names(claims: dict[str, Any], name: str) -> frozenset[str]:
    """Return a claim that is a name or a list of names."""
    value = claims.get(name, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(entry, str) and entry for entry in names):
        raise _refused("TOKEN_MALFORMED")
    return frozenset(map(_sound, names))
