"""Proofs of signed calls that are forged, stale or doubled are refused, by whomever they were made."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from secure_rpc.identity.call_proof import digest_of
from secure_rpc.identity.certificate import thumbprint_of
from secure_rpc.stages.integrity import PROOF_KEY

from support.probe import path_of
from support.signed_calls import ALICE, AUDIENCE, BOB, BODY, OLD, SIGNED, SignedWorld
from support.signing import claims_of, proof_of, public_pem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_proxy_cannot_sign_in_the_callers_place(world: SignedWorld) -> None:
    captured = await world.capture()
    token = captured.header("authorization").removeprefix("Bearer ")
    claims = claims_of(SIGNED, AUDIENCE, BODY, token)
    pem = world.proxy.leaf.certificate_pem
    thumbprint = thumbprint_of(x509.load_pem_x509_certificate(pem))
    own = load_pem_private_key(world.proxy.leaf.key_pem, None)
    for proof, recorded in (
        (proof_of(claims, own, **{"x5t#S256": thumbprint}), "PROOF_KEY_NOT_REGISTERED"),
        (proof_of(claims, BOB, kid="bob"), "PROOF_KEY_OF_ANOTHER"),
        (proof_of(claims, BOB, kid="proxy"), "PROOF_KEY_OF_ANOTHER"),  # registered, and of its own workload
        (proof_of(claims, own, kid="alice"), "PROOF_SIGNATURE_WRONG"),
    ):
        told = await world.proxy.send(captured.with_header(PROOF_KEY, proof))
        assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", recorded)


def _forged(header: dict[str, Any], **claims: Any) -> Callable[[str], str]:
    def forge(token: str) -> str:
        return proof_of(claims_of(SIGNED, AUDIENCE, BODY, token, **claims), ALICE, **{"kid": "alice", **header})

    return forge


def _with_secret(token: str) -> str:
    claims = claims_of(SIGNED, AUDIENCE, BODY, token)
    signing = jwt.PyJWS(options={"verify_signature": False})
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"call-proof+jwt","kid":"alice"}')
    body = jwt.utils.base64url_encode(str(claims).replace("'", '"').encode())
    assert signing is not None
    signature = jwt.utils.base64url_encode(hmac.sign(header + b"." + body, public_pem(ALICE).encode()))
    return (header + b"." + body + b"." + signature).decode()


def _unsigned(token: str) -> str:
    return proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), None, "none", kid="alice")


def _certificate_of_another(token: str) -> str:
    return proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), ALICE, **{"x5t#S256": digest_of(b"another")})


FORGED: dict[str, tuple[Callable[[str], str], str]] = {
    "no JWS": (lambda _: "nonsense", "PROOF_MALFORMED"),
    "algorithm none": (_unsigned, "PROOF_ALGORITHM_REFUSED"),
    "HMAC with the public key": (_with_secret, "PROOF_ALGORITHM_REFUSED"),
    "no type": (_forged({"typ": None}), "PROOF_TYPE_WRONG"),
    "an access token's type": (_forged({"typ": "at+jwt"}), "PROOF_TYPE_WRONG"),
    "DPoP's type": (_forged({"typ": "dpop+jwt"}), "PROOF_TYPE_WRONG"),
    "a critical header": (_forged({"crit": ["b64"], "b64": True}), "PROOF_MALFORMED"),
    "a key of its own": (_forged({"jwk": {"kty": "oct", "k": "AA"}}), "PROOF_MALFORMED"),
    "an unknown key": (_forged({"kid": "nobody"}), "PROOF_KEY_UNKNOWN"),
    "no key": (_forged({"kid": None}), "PROOF_KEY_UNKNOWN"),
    "two keys": (_forged({"x5t#S256": "A"}), "PROOF_KEY_UNKNOWN"),
    "another's certificate": (_certificate_of_another, "PROOF_KEY_OF_ANOTHER"),
    "an expired key": (
        lambda token: proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), OLD, kid="alice-old"),
        "PROOF_KEY_EXPIRED",
    ),
    **{f"no {name}": (_forged({}, **{name: None}), "PROOF_CLAIM_MISSING") for name in ("htm", "bdh", "iat", "jti")},
    "no audience": (_forged({}, aud=None), "PROOF_CLAIM_MISSING"),
    "another audience": (_forged({}, aud="other"), "PROOF_FOR_ANOTHER_SERVICE"),
    "several audiences": (_forged({}, aud=[AUDIENCE, "other"]), "PROOF_FOR_ANOTHER_SERVICE"),
    "another method": (_forged({}, htm=path_of("Unary")), "PROOF_FOR_ANOTHER_METHOD"),
    "no token hash": (_forged({}, ath=None), "PROOF_TOKEN_SWAPPED"),
    "a time that is a text": (_forged({}, iat=str(time.time())), "PROOF_MALFORMED"),
    "a time that is true": (_forged({}, iat=True), "PROOF_MALFORMED"),
    "a time past all numbers": (_forged({}, iat=float("inf")), "PROOF_MALFORMED"),
    "a short nonce": (_forged({}, jti="n" * 15), "PROOF_MALFORMED"),
    "a long nonce": (_forged({}, jti="n" * 65), "PROOF_MALFORMED"),
    "a nonce that is a number": (_forged({}, jti=1234567890123456), "PROOF_MALFORMED"),
    "a digest that is no text": (_forged({}, bdh=[]), "PROOF_MALFORMED"),
    "a digest of other characters": (_forged({}, bdh="ü"), "PROOF_MALFORMED"),
    "too large": (_forged({}, padding="x" * 4096), "PROOF_TOO_LARGE"),
}


@pytest.mark.parametrize(("forge", "recorded"), FORGED.values(), ids=FORGED)
async def test_a_forged_proof_is_refused(world: SignedWorld, forge: Callable[[str], str], recorded: str) -> None:
    captured, begun = await world.capture(), world.target.begun
    token = captured.header("authorization").removeprefix("Bearer ")
    told = await world.proxy.send(captured.with_header(PROOF_KEY, forge(token)))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", recorded)
    assert world.target.begun == begun


@pytest.mark.parametrize("off_by_seconds", [-301, 301, 10**9])
async def test_a_proof_of_another_time_is_refused(world: SignedWorld, off_by_seconds: int) -> None:
    captured = await world.capture()
    token = captured.header("authorization").removeprefix("Bearer ")
    proof = _forged({}, iat=time.time() + off_by_seconds)(token)
    told = await world.proxy.send(captured.with_header(PROOF_KEY, proof))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_STALE")


async def test_two_proofs_are_refused(world: SignedWorld) -> None:
    captured = await world.capture()
    twice = replace(captured, metadata=(*captured.metadata, (PROOF_KEY, captured.header(PROOF_KEY))))
    told = await world.proxy.send(twice)
    assert await world.refused(told, "INVALID_ARGUMENT", "METADATA_AMBIGUOUS")


async def test_a_sound_proof_made_by_hand_is_taken(world: SignedWorld) -> None:
    # so the table above is of what is wrong
    assert (await world.proxy.send(await world.capture())).code is grpc.StatusCode.OK
