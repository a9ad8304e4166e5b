"""JWT access tokens, verified locally (RFC 7519, RFC 8725, RFC 9068).

PyJWT checks signature, algorithm, issuer, audience and times. What it leaves open is checked here: the token's size,
its `typ`, that its issuer is one of ours before any key is looked for, and that its claims have the shape we rely on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import jwt

from secure_rpc import errors
from secure_rpc.identity.issuer import Issuer

MAX_TOKEN_BYTES = 8192  # a 1 MB token costs 94 ms to parse
LAST_SECOND = 2**53  # floats count seconds one by one up to here

Reason = Literal[
    "TOKEN_ALGORITHM_REFUSED",
    "TOKEN_AUDIENCE_WRONG",
    "TOKEN_CLAIM_MISSING",
    "TOKEN_EXPIRED",
    "TOKEN_INACTIVE",
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


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says, once it is verified."""

    issuer: Issuer
    subject: str
    tenants: frozenset[str]
    groups: frozenset[str]
    roles: frozenset[str]
    expires_at_seconds: float  # Unix time, leeway included
    certificate_thumbprint: str  # of the certificate it is bound to (RFC 8705, section 3.1), "" where it is not
    claims: dict[str, Any] = field(repr=False)
    recheck_at_seconds: float = math.inf  # Unix time from which it is not known whether it still counts


@dataclass(frozen=True, slots=True)
class Unverified:
    """A JWT taken apart; nothing of it is believed yet."""

    text: str = field(repr=False)
    header: dict[str, Any]
    claims: dict[str, Any]


@lru_cache(maxsize=16)  # what is refused is looked at again, for whose it is, and often shown again; nobody changes it
def take_apart(text: str) -> Unverified | None:
    """Return a JWT's parts, None where the text is no JWT at all.

    Raises:
        Unauthenticated: it is too large, or a JWT that is malformed.
    """
    if len(text) > MAX_TOKEN_BYTES:
        raise refused("TOKEN_TOO_LARGE")
    if not text.isascii():
        raise refused("TOKEN_MALFORMED")  # RFC 6750, section 2.1
    if text.count(".") != 2:  # noqa: PLR2004  # header, claims, signature (RFC 7515, section 3.1)
        return None
    try:
        parts = jwt.decode_complete(text, options={"verify_signature": False})
        return Unverified(text, parts["header"], parts["payload"])
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise refused("TOKEN_MALFORMED") from error


def key_id_of(token: Unverified, issuer: Issuer) -> str:
    """Return which key a token says it is signed with, once its header is one that the issuer may send.

    Raises:
        Unauthenticated: algorithm or type are refused, or there is no key id.
    """
    if token.header.get("alg") not in issuer.algorithms:
        raise refused("TOKEN_ALGORITHM_REFUSED")
    kind = token.header.get("typ", "")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in issuer.types:
        raise refused("TOKEN_TYPE_WRONG")  # an ID token, say, is no access token (RFC 8725, section 3.11)
    key_id = token.header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise refused("TOKEN_KEY_UNKNOWN")
    return key_id


def verify(token: Unverified, issuer: Issuer, key: jwt.PyJWK) -> Token:
    """Return what a token says.

    Raises:
        Unauthenticated: it cannot be believed; the reason says why, the message not more than it must.
    """
    try:
        claims = jwt.decode(
            token.text,
            key,
            algorithms=list(issuer.algorithms),
            audience=list(issuer.audiences),
            issuer=issuer.issuer,
            leeway=issuer.leeway_seconds,
            options={"require": ["iss", "aud", "exp", *issuer.required_claims]},
        )
    except jwt.PyJWTError as error:
        raise refused(_REASONS.get(type(error), "TOKEN_INVALID")) from error
    return token_of(claims, issuer)


def token_of(claims: dict[str, Any], issuer: Issuer) -> Token:
    """Return claims that are verified as a token, named as the issuer names them.

    Raises:
        Unauthenticated: a claim that we rely on is missing, or has another shape.
    """
    names = issuer.claims
    subject = _find(claims, names.subject)
    if not isinstance(subject, str) or not subject:
        raise refused("TOKEN_CLAIM_MISSING")
    return Token(
        issuer=issuer,
        subject=_sound(subject),
        tenants=_names(claims, names.tenants),
        groups=_names(claims, names.groups),
        roles=_names(claims, names.roles),
        expires_at_seconds=_seconds(claims, "exp") + issuer.leeway_seconds,
        certificate_thumbprint=_thumbprint(claims),
        claims=claims,
    )


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


def refused(reason: Reason) -> errors.Unauthenticated:
    """Return the error of a token that is not accepted."""
    return errors.Unauthenticated("the token is not accepted", reason=reason)


def _find(claims: dict[str, Any], name: str) -> Any:
    """Return a claim, nested where its name has dots; a claim whose own name has dots comes first."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def _names(claims: dict[str, Any], name: str) -> frozenset[str]:
    """Return a claim that is a name or a list of names; none where there is no such claim."""
    value = _find(claims, name)
    names = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(entry, str) and entry for entry in names):
        raise refused("TOKEN_MALFORMED")
    return frozenset(map(_sound, names))


def _seconds(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519, section 2); PyJWT takes texts, and numbers past all floats, too."""
    value = claims.get(name)
    if value is None:
        raise refused("TOKEN_CLAIM_MISSING")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LAST_SECOND:
        raise refused("TOKEN_MALFORMED")
    return float(value)


def _sound(text: str) -> str:
    """Refuse what is no Unicode: JSON can hold a lone surrogate, no log and no header can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refused("TOKEN_MALFORMED") from error
    return text


def _thumbprint(claims: dict[str, Any]) -> str:
    if "cnf" not in claims:
        return ""
    confirmation = claims["cnf"]
    thumbprint = confirmation.get("x5t#S256") if isinstance(confirmation, dict) else None
    if not isinstance(thumbprint, str) or not thumbprint:
        raise refused("TOKEN_MALFORMED")  # bound to something that we cannot check: not to be believed of anybody
    return thumbprint
