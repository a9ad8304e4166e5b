"""The issuer of development signs tokens as production's does, for the callers of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import pem_of
from secure_rpc.dev.issuer import LIFETIME_SECONDS, Caller, TokenIssuer, find_caller, load_callers

NOW = 1_780_000_000.75
ALICE = Caller(subject="alice", tenants=("acme",), groups=("admins",))


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer("https://issuer.example.org", "orders", clock=lambda: NOW)


def test_a_token_says_what_rfc_9068_asks(issuer: TokenIssuer) -> None:
    token = issuer.token(ALICE)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.pop("jti")
    assert claims == {
        "iss": "https://issuer.example.org",
        "sub": "alice",
        "aud": "orders",
        "iat": int(NOW),
        "exp": int(NOW) + LIFETIME_SECONDS,
        "tenant": ["acme"],
        "groups": ["admins"],
    }
    assert jwt.get_unverified_header(token) == {"typ": "at+jwt", "kid": issuer.key_id, "alg": "ES256"}


def test_claims_can_be_added_replaced_and_left_out(issuer: TokenIssuer) -> None:
    claims = jwt.decode(issuer.token(ALICE, sub="bob", exp=None, more=1), options={"verify_signature": False})
    assert (claims["sub"], claims["more"]) == ("bob", 1)
    assert "exp" not in claims


def test_no_two_tokens_have_one_id(issuer: TokenIssuer) -> None:
    ids = {jwt.decode(issuer.token(ALICE), options={"verify_signature": False})["jti"] for _ in range(20)}
    assert len(ids) == 20


def test_the_jwks_verifies_and_holds_no_secret(issuer: TokenIssuer, tmp_path: Path) -> None:
    issuer.save(tmp_path / "issuer.key", tmp_path / "jwks.json")
    [key] = orjson.loads((tmp_path / "jwks.json").read_bytes())["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"] == issuer.key_id
    options: Any = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(issuer.token(ALICE), jwt.PyJWK(key), ["ES256"], options, audience="orders")["sub"] == "alice"


def test_the_key_is_for_its_owner_alone_and_is_found_again(issuer: TokenIssuer, tmp_path: Path) -> None:
    issuer.save(tmp_path / "issuer.key", tmp_path / "jwks.json")
    assert (tmp_path / "issuer.key").stat().st_mode & 0o777 == 0o600
    loaded = TokenIssuer.load(issuer.issuer, issuer.audience, tmp_path / "issuer.key")
    assert loaded.key_id == issuer.key_id
    assert loaded.jwks() == issuer.jwks()


@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_a_key_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "issuer.key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"issuer.key cannot be read \(.*\); run `make setup`"):
        TokenIssuer.load("https://issuer.example.org", "orders", tmp_path / "issuer.key")


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "issuer.key").write_bytes(pem_of(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(ConfigurationError, match="is no key of ours; delete it and run `make setup`"):
        TokenIssuer.load("https://issuer.example.org", "orders", tmp_path / "issuer.key")


def test_callers_are_read_and_found_by_name(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    file.write_text("callers:\n  alice:\n    subject: alice\n    tenants: [acme]\n    groups: [admins]\n")
    callers = load_callers(file)
    assert find_caller(callers, "alice") == ALICE
    with pytest.raises(ConfigurationError) as caught:
        find_caller(callers, "alcie")
    assert caught.value.problems == ('there is no caller "alcie"; did you mean "alice"?',)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("callers:\n  alice:\n    subjct: alice\n", ':3: "callers.alice.subjct" is not known; did you mean "subject"?'),
        ("callers:\n  alice: {}\n", ':2: "callers.alice.subject" is missing; add it'),
        ("caller: {}\n", ':1: "caller" is not known; did you mean "callers"?'),
    ],
)
def test_a_slip_in_the_callers_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "callers.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_callers(file)
    assert f"{file}{told}" in caught.value.problems
