"""Token exchange: a provider's token in, a short-lived one of our own out, for an audience of ours (after RFC 8693)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.timestamp_pb2 import Timestamp
from jwt.algorithms import ECAlgorithm

from secure_rpc import errors
from secure_rpc.call import current_call
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.identity.token import Token
from secure_rpc.settings import Exchange
from secure_rpc.v1 import exchange_pb2 as pb
from secure_rpc.v1 import exchange_pb2_grpc as pb_grpc


class TokenExchange(pb_grpc.TokenExchangeServiceServicer):
    """Exchange tokens.

    Args:
        settings: our issuer's name, key and audiences.
        verify: tells what a token says; raises to refuse it.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: the key cannot be read, or is not on P-256.
    """

    def __init__(
        self,
        settings: Exchange,
        verify: Callable[[str], Awaitable[Token]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._verify = verify
        self._clock = clock
        self._key = _load(settings.key_file)
        self._key_id = _name_of(self._key)

    async def Exchange(self, request: pb.ExchangeRequest, _context: Any) -> pb.ExchangeResponse:
        """Return a token of ours that says what the one given said, and who had it exchanged."""
        if request.audience not in self._settings.audiences:
            raise errors.InvalidArgument(
                did_you_mean(request.audience, self._settings.audiences), reason="EXCHANGE_AUDIENCE_UNKNOWN"
            )
        token = await self._verify(request.subject_token)
        call = current_call()
        if not _may_be_shown_by(call.workload, token):
            raise errors.Unauthenticated("the token is not accepted", reason="TOKEN_INVALID")
        actor = call.principal.name if call.principal else ""
        now = int(self._clock())
        # not the leeway: exchanged again and again, a token would last for ever
        expires = int(min(now + self._settings.lifetime_seconds, token.claims["exp"]))
        claims = {
            "iss": self._settings.issuer,
            "aud": request.audience,
            "sub": token.subject,
            "iat": now,
            "exp": expires,
            "jti": secrets.token_hex(16),
            "tenant": sorted(token.tenants),
            "groups": sorted(token.groups),
            "roles": sorted(token.roles),
            "act": {"sub": actor},  # RFC 8693, section 4.1
            "origin": token.issuer.issuer,
        }
        signed = jwt.encode(claims, self._key, "ES256", {"typ": "at+jwt", "kid": self._key_id})
        return pb.ExchangeResponse(access_token=signed, expires_at=Timestamp(seconds=expires))


def jwks(key_file: Path) -> dict[str, Any]:
    """Return the public key, for those who verify our tokens.

    Raises:
        ConfigurationError: the key cannot be read, or is not on P-256.
    """
    key = _load(key_file)
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"keys": [{**public, "kid": _name_of(key), "use": "sig", "alg": "ES256"}]}


def _may_be_shown_by(workload: str, token: Token) -> bool:
    """Tell whether a workload could call with another's token: not where it is bound to whom it was given."""
    issuer = token.issuer
    if token.certificate_thumbprint or issuer.certificate_bound:
        return False
    return not issuer.trust_domain or workload.startswith(f"spiffe://{issuer.trust_domain}/")


def _load(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"authentication.exchange.key_file: {file} cannot be read ({error}); mount it"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(f"authentication.exchange.key_file: {file} is no key on P-256")
    return key


def _name_of(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a name that follows from the key, the same on every replica."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    return digest.finalize().hex()[:16]
