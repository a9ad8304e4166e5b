"""Proofs of single calls: a JWS by the caller's own key over method, body, time and nonce (in the form of RFC 9449).

PyJWT checks the signature and the audience. What it leaves open is checked here: size, `typ`, `crit`, which key may
sign by which algorithm, whose key it is, and that each claim is there and has the one shape that we make.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

import jwt

from secure_rpc import errors
from secure_rpc.caller import Principal
from secure_rpc.identity.certificate import parse, thumbprint_of
from secure_rpc.identity.signing_keys import PublicKey, SigningKeys, algorithms_of

PROOF_TYPE = "call-proof+jwt"
MAX_PROOF_CHARACTERS = 4096
REMEMBERED_CERTIFICATES = 4096
LAST_SECOND = 2**53  # floats count seconds one by one up to here
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_HEADER = frozenset({"alg", "typ", "kid", "x5t#S256"})


@dataclass(frozen=True, slots=True)
class Presented:
    """A proof, and what came with it."""

    text: str
    path: str  # of the method that is called
    principal: Principal | None
    certificate_pem: bytes
    credential: str  # the bearer token, or the API key; "" for none


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof says, once its signature and all but its body and nonce are checked."""

    key_id: str  # of a registered key, or "x5t:" and the thumbprint of the certificate
    body_digest: str
    nonce: str
    made_seconds: float  # Unix time

    def check_body(self, raw: bytes) -> None:
        """Hold the bytes of the request against what was signed.

        Raises:
            Unauthenticated: they are others.
        """
        if not hmac.compare_digest(digest_of(raw), self.body_digest):
            raise invalid("PROOF_BODY_ALTERED")


@dataclass(frozen=True, slots=True)
class _Verifier:
    key_id: str
    key: PublicKey
    algorithms: tuple[str, ...]


class CallProofs:
    """Verify proofs.

    Args:
        keys: those that are registered.
        audience: the name of this service; proofs for another one are refused.
        certificate_keys: whether the key of the caller's TLS certificate may sign, where no key is registered of
            the caller's user.
        window_seconds: how far the caller's clock may be from ours.
    """

    def __init__(self, keys: SigningKeys, audience: str, window_seconds: float, *, certificate_keys: bool) -> None:
        self._keys = keys
        self._audience = audience
        self._window_seconds = window_seconds
        self._certificate_keys = certificate_keys

    def verify(self, shown: Presented, now_seconds: float) -> Proven:
        """Return what a proof says; the body and the nonce are still to be looked at.

        Args:
            shown: the proof and its call.
            now_seconds: Unix time.

        Raises:
            Unauthenticated: it is missing, stale or cannot be believed; what exactly is wrong, the record says.
        """
        if not shown.text:
            raise errors.Unauthenticated("the call must be signed: send call-proof", reason="PROOF_MISSING")
        header = _header_of(shown.text)
        verifier = self._verifier(header, shown, now_seconds)
        if header.get("alg") not in verifier.algorithms:
            raise invalid("PROOF_ALGORITHM_REFUSED")
        claims = self._claims(shown.text, verifier)
        if claims.get("htm") != shown.path:
            raise invalid("PROOF_FOR_ANOTHER_METHOD")
        expected = digest_of(shown.credential.encode()) if shown.credential else None
        if claims.get("ath") != expected:
            raise invalid("PROOF_TOKEN_SWAPPED")
        body_digest, nonce, made = claims["bdh"], claims["jti"], claims["iat"]
        if not isinstance(body_digest, str) or not body_digest.isascii():
            raise invalid("PROOF_MALFORMED")
        if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
            raise invalid("PROOF_MALFORMED")
        if isinstance(made, bool) or not isinstance(made, int | float) or not abs(made) <= LAST_SECOND:
            raise invalid("PROOF_MALFORMED")
        if abs(made - now_seconds) >= self._window_seconds:  # at the edge the nonce would be forgotten
            raise errors.Unauthenticated(
                f"the proof's time is {self._window_seconds:g} s off, or more", reason="PROOF_STALE"
            )
        return Proven(verifier.key_id, body_digest, nonce, float(made))

    def _verifier(self, header: dict[str, Any], shown: Presented, now_seconds: float) -> _Verifier:
        key_id, thumbprint = header.get("kid"), header.get("x5t#S256")
        if (key_id is None) == (thumbprint is None):
            raise invalid("PROOF_KEY_UNKNOWN")
        if key_id is not None:
            key = self._keys.find(key_id) if isinstance(key_id, str) else None
            if key is None:
                raise invalid("PROOF_KEY_UNKNOWN")
            if not key.belongs_to(shown.principal) or (key.entry.workload and self._keys.is_known(shown.principal)):
                raise invalid("PROOF_KEY_OF_ANOTHER")
            if key.has_expired(now_seconds):
                raise invalid("PROOF_KEY_EXPIRED")
            return _Verifier(str(key_id), key.public_key, key.algorithms)
        own_thumbprint, certificate_key = _certificate_key(shown.certificate_pem)
        if thumbprint != own_thumbprint:
            raise invalid("PROOF_KEY_OF_ANOTHER")
        # who ends TLS on the way has a certificate too: where the user's own key is known, none but that counts
        if not self._certificate_keys or self._keys.is_known(shown.principal):
            raise invalid("PROOF_KEY_NOT_REGISTERED")
        return _Verifier(f"x5t:{own_thumbprint}", certificate_key, algorithms_of(certificate_key))

    def _claims(self, text: str, verifier: _Verifier) -> dict[str, Any]:
        try:
            return jwt.decode(
                text,
                verifier.key,
                algorithms=list(verifier.algorithms),
                audience=self._audience,
                options={
                    "require": ["htm", "aud", "bdh", "iat", "jti"],
                    "strict_aud": True,
                    "verify_iat": False,  # both ways, by our own clock
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_sub": False,
                    "verify_jti": False,
                    "verify_iss": False,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise invalid("PROOF_CLAIM_MISSING") from error
        except jwt.InvalidAudienceError as error:
            raise invalid("PROOF_FOR_ANOTHER_SERVICE") from error
        except jwt.InvalidSignatureError as error:
            raise invalid("PROOF_SIGNATURE_WRONG") from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise invalid("PROOF_MALFORMED") from error


def digest_of(content: bytes) -> str:
    """Return base64url of the SHA-256, without padding: how `bdh` and `ath` say what they are of."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def invalid(recorded_reason: str) -> errors.Unauthenticated:
    """Return the refusal of a proof; who tries one after the other learns nothing from it."""
    return errors.Unauthenticated(
        "the call's proof is not accepted", reason="PROOF_INVALID", recorded_reason=recorded_reason
    )


def _header_of(text: str) -> dict[str, Any]:
    if len(text) > MAX_PROOF_CHARACTERS:
        raise invalid("PROOF_TOO_LARGE")
    try:
        header = jwt.get_unverified_header(text)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise invalid("PROOF_MALFORMED") from error
    if header.get("typ") != PROOF_TYPE:  # an access token, say, is no proof (RFC 8725, section 3.11)
        raise invalid("PROOF_TYPE_WRONG")
    if not _HEADER.issuperset(header):  # "crit", "b64", "jwk", "jku": nothing that says how to read it otherwise
        raise invalid("PROOF_MALFORMED")
    return header


@functools.lru_cache(REMEMBERED_CERTIFICATES)
def _certificate_key(pem: bytes) -> tuple[str, Any]:
    certificate = parse(pem)
    return thumbprint_of(certificate), certificate.public_key()
