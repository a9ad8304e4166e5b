"""A token is believed when all of it holds; each thing that does not has a reason of its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt import api_jws

from secure_rpc import errors
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.token import bearer_token
from secure_rpc.identity.tokens import TokenVerifier

ALICE = Caller(subject="alice", tenants=("acme", "globex"), groups=("admins",))


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def assembled(header: Any, claims: Any, signature: bytes) -> str:
    return ".".join(
        [base64url(json.dumps(header).encode()), base64url(json.dumps(claims).encode()), base64url(signature)]
    )


def signed(issuer: TokenIssuer, claims: Any) -> str:
    """Sign what PyJWT would refuse to."""
    header = {"typ": "at+jwt", "kid": issuer.key_id}
    return api_jws.encode(json.dumps(claims).encode(), issuer.key, "ES256", header)


def usual(issuer: TokenIssuer, **claims: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": issuer.issuer, "aud": "orders", "sub": "alice", "iat": now, "exp": now + 60, **claims}


async def reason(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(errors.Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.message == "the token is not accepted"
    return caught.value.reason


async def test_a_sound_token_tells_who_calls(verifier: TokenVerifier, issuer: TokenIssuer) -> None:
    expiry = int(time.time()) + 60
    token = await verifier.verify(issuer.token(ALICE, exp=expiry, extra="kept"))
    assert (token.issuer.issuer, token.subject) == (issuer.issuer, "alice")
    assert token.tenants == {"acme", "globex"}
    assert token.groups == {"admins"}
    assert token.expires_at_seconds == expiry + 30  # the leeway
    assert token.claims["extra"] == "kept"
    assert "kept" not in repr(token)


async def test_one_tenant_may_stand_without_a_list_and_none_may_be_left_out(
    verifier: TokenVerifier, issuer: TokenIssuer
) -> None:
    assert (await verifier.verify(issuer.token(ALICE, tenant="acme"))).tenants == {"acme"}
    assert (await verifier.verify(issuer.token(ALICE, tenant=None, groups=None))).tenants == frozenset()


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": None}, "TOKEN_CLAIM_MISSING"),
        ({"iat": None}, "TOKEN_CLAIM_MISSING"),
        ({"sub": None}, "TOKEN_CLAIM_MISSING"),
        ({"aud": None}, "TOKEN_CLAIM_MISSING"),
        ({"sub": ""}, "TOKEN_CLAIM_MISSING"),
        ({"iss": None}, "TOKEN_ISSUER_UNKNOWN"),
        ({"iss": "https://issuer.example.org/"}, "TOKEN_ISSUER_UNKNOWN"),
        ({"iss": "https://ISSUER.example.org"}, "TOKEN_ISSUER_UNKNOWN"),
        ({"aud": "others"}, "TOKEN_AUDIENCE_WRONG"),
        ({"aud": []}, "TOKEN_CLAIM_MISSING"),
        ({"aud": "ORDERS"}, "TOKEN_AUDIENCE_WRONG"),
        ({"tenant": 5}, "TOKEN_MALFORMED"),
        ({"tenant": [5]}, "TOKEN_MALFORMED"),
        ({"tenant": [""]}, "TOKEN_MALFORMED"),
        ({"tenant": {"acme": True}}, "TOKEN_MALFORMED"),
        ({"groups": "\ud800"}, "TOKEN_MALFORMED"),
        ({"sub": "a\ud800"}, "TOKEN_MALFORMED"),
        ({"exp": "99999999999"}, "TOKEN_MALFORMED"),
        ({"exp": 10**400}, "TOKEN_MALFORMED"),
        ({"exp": 2**53 + 2}, "TOKEN_MALFORMED"),
        ({"exp": True}, "TOKEN_EXPIRED"),
        ({"exp": "soon"}, "TOKEN_INVALID"),
        ({"exp": float("inf")}, "TOKEN_INVALID"),
    ],
)
async def test_a_claim_that_is_wrong_is_refused(
    verifier: TokenVerifier, issuer: TokenIssuer, claims: dict[str, Any], expected: str
) -> None:
    assert await reason(verifier, issuer.token(ALICE, **claims)) == expected


@pytest.mark.parametrize("iss", [5, ["https://issuer.example.org"], {}, True])
async def test_an_issuer_that_is_no_text_is_refused(verifier: TokenVerifier, issuer: TokenIssuer, iss: Any) -> None:
    assert await reason(verifier, signed(issuer, usual(issuer, iss=iss))) in {"TOKEN_ISSUER_UNKNOWN", "TOKEN_MALFORMED"}


@pytest.mark.parametrize(
    ("claim", "ago_seconds", "expected"),
    [
        ("exp", 20, ""),
        ("exp", 40, "TOKEN_EXPIRED"),
        ("nbf", -20, ""),
        ("nbf", -40, "TOKEN_NOT_YET_VALID"),
        ("iat", -20, ""),
        ("iat", -40, "TOKEN_NOT_YET_VALID"),
    ],
)
async def test_clocks_may_differ_by_the_leeway_and_not_by_more(
    verifier: TokenVerifier, issuer: TokenIssuer, claim: str, ago_seconds: int, expected: str
) -> None:
    token = issuer.token(ALICE, **{claim: int(time.time()) - ago_seconds})
    if expected:
        assert await reason(verifier, token) == expected
    else:
        assert (await verifier.verify(token)).subject == "alice"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"typ": "JWT"}, "TOKEN_TYPE_WRONG"),
        ({"typ": "id_token"}, "TOKEN_TYPE_WRONG"),
        ({"typ": ""}, "TOKEN_TYPE_WRONG"),
        ({"kid": "another"}, "TOKEN_KEY_UNKNOWN"),
        ({"crit": ["unheard-of"]}, "TOKEN_MALFORMED"),
    ],
)
async def test_a_header_that_is_wrong_is_refused(
    verifier: TokenVerifier, issuer: TokenIssuer, header: dict[str, Any], expected: str
) -> None:
    assert await reason(verifier, issuer.sign(usual(issuer), **header)) == expected


@pytest.mark.parametrize("kind", ["AT+JWT", "application/at+jwt"])
async def test_the_type_may_be_written_as_a_media_type(verifier: TokenVerifier, issuer: TokenIssuer, kind: str) -> None:
    assert (await verifier.verify(issuer.sign(usual(issuer), typ=kind))).subject == "alice"


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES384", "RS512", "", 5, None])
async def test_an_algorithm_that_the_issuer_does_not_use_is_refused(
    verifier: TokenVerifier, issuer: TokenIssuer, algorithm: Any
) -> None:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": issuer.key_id}
    token = assembled(header, usual(issuer), b"")
    assert await reason(verifier, token) in {"TOKEN_ALGORITHM_REFUSED", "TOKEN_MALFORMED"}


async def test_the_public_key_is_no_secret_to_sign_with(verifier: TokenVerifier, issuer: TokenIssuer) -> None:
    secret = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    token = assembled({"alg": "HS256", "typ": "at+jwt", "kid": issuer.key_id}, usual(issuer), b"")
    body = token.rpartition(".")[0]
    forged = f"{body}.{base64url(hmac.digest(secret, body.encode(), hashlib.sha256))}"
    assert await reason(verifier, forged) == "TOKEN_ALGORITHM_REFUSED"


async def test_a_signature_of_another_key_is_refused(verifier: TokenVerifier, issuer: TokenIssuer) -> None:
    impostor = TokenIssuer(issuer.issuer, issuer.audience)
    assert await reason(verifier, impostor.sign(usual(issuer), kid=issuer.key_id)) == "TOKEN_SIGNATURE_WRONG"
    bringing_its_key = impostor.sign(usual(issuer), kid=issuer.key_id, jwk=impostor.jwks()["keys"][0])
    assert await reason(verifier, bringing_its_key) == "TOKEN_SIGNATURE_WRONG"


async def test_claims_changed_after_signing_are_refused(verifier: TokenVerifier, issuer: TokenIssuer) -> None:
    header, _, signature = issuer.token(ALICE).split(".")
    changed = base64url(json.dumps(usual(issuer, sub="root")).encode())
    assert await reason(verifier, f"{header}.{changed}.{signature}") == "TOKEN_SIGNATURE_WRONG"


async def test_an_issuer_cannot_speak_for_another(rules: Issuer, issuer: TokenIssuer, tmp_path: Path) -> None:
    other = TokenIssuer("https://partner.example", "orders")
    other.save(tmp_path / "key", tmp_path / "jwks.json")
    partner = Issuer(issuer=other.issuer, jwks_file=tmp_path / "jwks.json", audiences=("orders",))
    both = TokenVerifier((rules, partner))
    assert (await both.verify(other.token(ALICE))).issuer.issuer == other.issuer
    assert await reason(both, other.token(ALICE, iss=issuer.issuer)) == "TOKEN_KEY_UNKNOWN"


async def test_a_token_too_large_is_not_parsed(verifier: TokenVerifier, issuer: TokenIssuer) -> None:
    assert await reason(verifier, issuer.token(ALICE, filler="x" * 8192)) == "TOKEN_TOO_LARGE"


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "a.b.c.d.e", "..", "eyJ9.eyJ9.", "\N{SNOWMAN}.b.c"])
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    assert await reason(verifier, token) == "TOKEN_MALFORMED"


@pytest.mark.parametrize(
    ("header", "token"), [("", ""), ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER a.b.c", "a.b.c")]
)
def test_the_bearer_scheme_is_read(header: str, token: str) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize("header", ["Basic abc", "abc", "Bearer", "Bearer ", "Bearer a b", "Bearer  a", " Bearer a"])
def test_another_scheme_is_refused(header: str) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        bearer_token(header)
    assert caught.value.reason == "TOKEN_SCHEME_UNKNOWN"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["orders", "ES256", "at+jwt"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku"]), JSON)
CLAIMS = st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "tenant", "groups"]), JSON)


@settings(deadline=None)
@given(header=HEADERS | JSON, claims=CLAIMS | JSON, signature=st.binary(max_size=70))
def test_whatever_stands_in_an_unsigned_token_it_is_refused_and_not_more(
    verifier: TokenVerifier, issuer: TokenIssuer, header: Any, claims: Any, signature: bytes
) -> None:
    if isinstance(header, dict):
        header = {"alg": "ES256", "typ": "at+jwt", "kid": issuer.key_id, **header}
    if isinstance(claims, dict):
        claims = {**usual(issuer), **claims}
    assert asyncio.run(reason(verifier, assembled(header, claims, signature))).startswith("TOKEN_")


@settings(deadline=None)
@given(claims=CLAIMS)
def test_whatever_an_issuer_signs_it_is_believed_whole_or_refused(
    verifier: TokenVerifier, issuer: TokenIssuer, claims: dict[str, Any]
) -> None:
    try:
        token = asyncio.run(verifier.verify(signed(issuer, {**usual(issuer), **claims})))
    except errors.Unauthenticated:
        return
    for text in (token.subject, *token.tenants, *token.groups):
        assert text.encode()
