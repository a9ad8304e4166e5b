"""A JWKS is read whole or refused, with what is wrong and where."""

from __future__ import annotations

import contextlib
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity import jwks

GOOD: dict[str, Any] = {**TokenIssuer("https://issuer.example.org", "orders").jwks()["keys"][0], "kid": "one"}


def key_set(document: Any) -> dict[str, jwt.PyJWK]:
    return jwks.parse_jwks(document if isinstance(document, bytes) else orjson.dumps(document), "the issuer")


def problem(document: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        key_set(document)
    [told] = caught.value.problems
    assert told.startswith("the issuer: ")
    return told.removeprefix("the issuer: ")


def test_keys_are_found_by_their_id() -> None:
    keys = key_set({"keys": [GOOD, {**GOOD, "kid": "two"}]})
    found = keys.get("two")
    assert found is not None
    assert found.key_id == "two"
    assert keys.get("three") is None


def test_a_key_for_encryption_is_passed_over() -> None:
    keys = key_set({"keys": [GOOD, {**GOOD, "kid": "two", "use": "enc"}]})
    assert keys.get("two") is None


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"{}", b"\xff", b"5", b'"keys"'])
def test_what_is_no_jwks_is_refused(document: bytes) -> None:
    assert problem(document).startswith("cannot be read as a JWKS (")


@pytest.mark.parametrize("keys", [5, None, "x", {}, ["x"], [5], [GOOD, None]])
def test_keys_that_are_no_list_of_keys_are_refused(keys: Any) -> None:
    assert problem({"keys": keys}) == '"keys" is no list of keys; this is no JWKS'


@pytest.mark.parametrize("keys", [[], [{**GOOD, "use": "enc"}]])
def test_a_set_that_verifies_nothing_is_refused(keys: list[Any]) -> None:
    assert problem({"keys": keys}) == "has no key for signatures; no token could be verified"


def test_a_document_too_large_is_not_parsed() -> None:
    assert problem(b" " * 1_000_001) == "is larger than 1000000 bytes; this is no JWKS"


@pytest.mark.parametrize("kid", [None, 5, ["one"]])
def test_a_key_without_an_id_is_refused(kid: Any) -> None:
    assert problem({"keys": [{**GOOD, "kid": kid}]}).startswith('a key has no "kid" that is a text')


def test_an_id_that_stands_twice_is_refused() -> None:
    assert problem({"keys": [GOOD, GOOD]}).startswith("the \"kid\" 'one' stands twice")


@pytest.mark.parametrize(
    "secret",
    [
        {**GOOD, "d": "AAAA"},
        {"kty": "oct", "k": "AAAA", "kid": "one"},
        {"kty": "oct", "k": "AAAA", "kid": "one", "use": "enc"},
    ],
)
def test_a_secret_is_refused_whatever_its_use(secret: dict[str, Any]) -> None:
    told = problem({"keys": [{**GOOD, "kid": "two"}, secret]})
    assert told == "the key 'one' is a secret; a JWKS for verifying is public"


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": "AAAA"},
        {"x": 5},
        {"crv": "P-1"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": 5},
    ],
)
def test_a_key_that_cannot_be_used_is_named(wrong: dict[str, Any]) -> None:
    assert problem({"keys": [{**GOOD, **wrong}]}).startswith("the key 'one' cannot be used: ")


@pytest.mark.parametrize("kind", ["AKP", "unheard-of", "", None, 5, ["EC"]])
def test_a_key_of_a_kind_not_known_here_costs_the_others_nothing(kind: Any) -> None:
    later = {"kty": kind, "kid": "later", "pub": "AAAA"}
    assert set(key_set({"keys": [later, GOOD]})) == {"one"}
    assert problem({"keys": [later]}).startswith("has no key for signatures")


def test_a_short_rsa_key_is_refused_and_one_of_2048_bits_is_not() -> None:
    short, sound = (
        {**RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, bits).public_key(), as_dict=True), "kid": "one"}
        for bits in (1024, 2048)
    )
    assert problem({"keys": [short]}) == "the key 'one' has 1024 bits; at least 2048 are needed"
    assert key_set({"keys": [sound]}).get("one") is not None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(max_size=8)
    | st.sampled_from(["EC", "RSA", "sig"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", *GOOD, "n", "e"]), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(document=VALUES)
def test_whatever_the_document_it_is_a_key_set_or_a_configuration_error(document: Any) -> None:
    with contextlib.suppress(ConfigurationError):
        assert key_set(document).get("one") is None


@settings(deadline=None)
@given(wrong=st.dictionaries(st.sampled_from([*GOOD, "n", "e", "key_ops"]), VALUES, max_size=3))
def test_whatever_stands_in_a_key_it_is_taken_or_a_configuration_error(wrong: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigurationError):
        assert key_set({"keys": [{**GOOD, **wrong}]})
