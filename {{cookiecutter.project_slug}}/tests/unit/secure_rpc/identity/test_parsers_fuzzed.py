"""Whatever a caller sends, what reads it says yes or no, and never anything else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secure_rpc import errors, spiffe
from secure_rpc.call import Call, Method, Patience
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity import token
from secure_rpc.identity.api_key import ApiKeys, new_key, save
from secure_rpc.identity.certificate import Certificate, NameKind, certificate_reader
from secure_rpc.identity.fetching import https_only
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.jwks import parse_jwks
from secure_rpc.identity.tokens import TokenVerifier

from support.federation import OURS, THEIRS, authority_under

ISSUER = TokenIssuer("https://issuer.example.org", "orders")
RULES = Issuer(issuer=ISSUER.issuer, jwks_file=Path("none"), audiences=("orders",))
TEXT = (
    st.text() | st.text(alphabet="abAB01._-=+/ \t\n\0", max_size=60) | st.text(st.characters(categories=["Cs", "Ll"]))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**400) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=3,
)
CLAIM = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "tenant", "groups", "roles", "cnf", "x5t#S256"])


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def damaged(text: bytes, places: list[tuple[float, int]], cut: float) -> bytes:
    """Return bytes with some of them replaced, and the end cut off."""
    changed = bytearray(text[: max(int(cut * len(text)), 1)])
    for place, value in places:
        changed[int(place * len(changed))] = value
    return bytes(changed)


DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4)
CUT = st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5])

# --- headers -----------------------------------------------------------------------------------------------------


@given(TEXT | TEXT.map("Bearer ".__add__) | TEXT.map("bearer  ".__add__))
def test_a_header_is_a_bearer_token_or_refused(header: str) -> None:
    with contextlib.suppress(errors.Unauthenticated):
        found = token.bearer_token(header)
        assert found == "" if not header else found in header
        assert " " not in found


VALUES = TEXT | st.binary(max_size=10)


@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "other"]), VALUES), max_size=4))
def test_metadata_has_an_entry_once_as_text_or_is_refused(metadata: list[tuple[str, str | bytes]]) -> None:
    call = Call(Method("/a.B/C", Patience(1)), "/a.B/C", tuple(metadata))
    entries = [value for key, value in metadata if key == "authorization"]
    if len(entries) > 1 or b"" in [entry[:0] for entry in entries]:
        with pytest.raises(errors.InvalidArgument, match="must be sent once, as text"):
            call.header("authorization")
    else:
        assert [call.header("authorization")] == (entries or [""])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> ApiKeys:
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    _, entry = new_key("alice", datetime.now(UTC) + timedelta(days=1), (), ())
    save(path, {"a": entry, "": entry})
    return ApiKeys(path)


@given(text=TEXT | TEXT.map("a.".__add__) | st.from_regex(r"[a0]\.[A-Za-z0-9_-]{43}"))
def test_an_api_key_that_was_not_given_out_is_refused(keys: ApiKeys, text: str) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        keys.verify(text)
    assert caught.value.reason == "API_KEY_INVALID"


# --- tokens ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(text=TEXT | st.lists(TEXT, min_size=3, max_size=3).map(".".join))
@example("." * 8193)
@example("e30.e30.")
def test_a_text_is_taken_apart_or_is_no_jwt_or_is_refused(text: str) -> None:
    with contextlib.suppress(errors.Unauthenticated):
        taken = token.take_apart(text)
        assert taken is None or (isinstance(taken.header, dict) and isinstance(taken.claims, dict))


@settings(deadline=None)
@given(header=JSON | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip"]), JSON), claims=JSON)
def test_whatever_json_a_jwt_is_made_of_it_is_taken_apart_or_refused(header: Any, claims: Any) -> None:
    with contextlib.suppress(errors.Unauthenticated):
        taken = token.take_apart(f"{part(header)}.{part(claims)}.AAAA")
        assert taken is not None
        assert isinstance(token.key_id_of(taken, RULES), str)


@settings(deadline=None)
@given(claims=st.dictionaries(CLAIM, JSON | st.dictionaries(CLAIM, JSON)))
def test_whatever_an_issuer_claims_it_is_a_token_of_sound_texts_or_refused(claims: dict[str, Any]) -> None:
    with contextlib.suppress(errors.Unauthenticated):
        found = token.token_of({"sub": "alice", "exp": 1, **claims}, RULES)
        for text in (found.subject, *found.tenants, *found.groups, *found.roles):
            assert text.encode()
        assert found.expires_at_seconds < 2**54
        assert bool(found.certificate_thumbprint) == ("cnf" in claims)


@pytest.fixture(scope="module")
def sound_token() -> bytes:
    return ISSUER.token(Caller(subject="alice", tenants=("acme",))).encode()


@settings(deadline=None, max_examples=200)
@given(places=DAMAGE, cut=CUT)
def test_a_token_that_was_damaged_on_the_way_is_not_believed(
    verifier: TokenVerifier, sound_token: bytes, places: list[tuple[float, int]], cut: float
) -> None:
    text = damaged(sound_token, places, cut).decode("latin-1")
    with pytest.raises(errors.StatusError) as caught:  # its issuer is not the one of this verifier
        asyncio.run(verifier.verify(text))
    assert caught.value.reason.startswith("TOKEN_")


# --- keys, names, addresses ------------------------------------------------------------------------------------

JWK = st.dictionaries(
    st.sampled_from(["kty", "kid", "use", "alg", "crv", "x", "y", "n", "e", "k", "d", "key_ops"]), JSON
)
SOUND_JWK = ISSUER.jwks()["keys"][0]


@settings(deadline=None)
@given(
    st.binary() | st.lists(JWK.map(lambda wrong: {**SOUND_JWK, **wrong}), max_size=2).map(lambda keys: {"keys": keys})
)
def test_a_document_is_a_jwks_or_a_configuration_error(document: Any) -> None:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with contextlib.suppress(ConfigurationError):
        assert parse_jwks(raw, "fuzzed")


@given(DAMAGE, CUT)
def test_a_jwks_that_was_damaged_on_the_way_is_one_or_a_configuration_error(
    places: list[tuple[float, int]], cut: float
) -> None:
    with contextlib.suppress(ConfigurationError):
        assert parse_jwks(damaged(orjson.dumps(ISSUER.jwks()), places, cut), "fuzzed")


@given(TEXT | TEXT.map("spiffe://".__add__) | TEXT.map("spiffe://example.org/".__add__))
def test_a_spiffe_id_is_read_as_it_stands_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert str(spiffe.parse(text)) == text


@given(TEXT | TEXT.map("https://".__add__) | TEXT.map("https://a:".__add__))
def test_an_address_is_one_of_https_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert https_only(text).lower().startswith("https://")


# --- certificates --------------------------------------------------------------------------------------------------

ROOT = authority_under(None, "root")
BUNDLES = {OURS: [ROOT.certificate], THEIRS: [Authority.create("theirs").certificate]}
READERS: list[Callable[[bytes, bytes], Certificate]] = [
    certificate_reader(OURS, bundles, kinds)
    for bundles in (None, BUNDLES)
    for kinds in ((NameKind.SPIFFE,), (NameKind.DNS, NameKind.COMMON_NAME), tuple(NameKind))
]


@pytest.fixture(scope="module")
def sound_der() -> bytes:

    made = ROOT.issue(Request("orders", uris=[f"spiffe://{OURS}/a"], dns_names=["orders"], addresses=["::1"]))
    return x509.load_pem_x509_certificate(made.certificate_pem).public_bytes(Encoding.DER)


def judge(pem: bytes, chain: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(errors.Unauthenticated):
            found = read(pem, chain)
            assert (found.workload == "") == (found.refusal is not None)
            assert found.trust_domain in {"", OURS, THEIRS}


@settings(deadline=None, max_examples=300)
@given(places=DAMAGE, cut=CUT)
def test_a_damaged_certificate_is_read_or_refused_and_not_more(
    sound_der: bytes, places: list[tuple[float, int]], cut: float
) -> None:
    judge(ssl.DER_cert_to_PEM_cert(damaged(sound_der, places, cut)).encode(), b"")


@settings(deadline=None, max_examples=200)
@given(places=DAMAGE, cut=CUT, in_chain=st.booleans())
def test_damaged_pem_is_read_or_refused_and_not_more(
    sound_der: bytes, places: list[tuple[float, int]], cut: float, *, in_chain: bool
) -> None:
    pem = ssl.DER_cert_to_PEM_cert(sound_der).encode()
    wrong = damaged(pem, places, cut)
    judge(*((pem, wrong) if in_chain else (wrong, b"")))


@settings(deadline=None)
@given(st.binary(), st.binary())
def test_whatever_the_bytes_they_are_refused_and_not_more(pem: bytes, chain: bytes) -> None:
    for read in READERS:
        with pytest.raises(errors.Unauthenticated):
            read(pem, chain)
