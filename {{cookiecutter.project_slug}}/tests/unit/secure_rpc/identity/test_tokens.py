"""Tokens of several issuers, each by its own rules, whatever the others do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from starlette.responses import Response

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity import token as tokens
from secure_rpc.identity.issuer import Claims, Fetch, Introspection, Issuer, Keys
from secure_rpc.identity.tokens import Forgeries, Forgery, TokenVerifier

from support.clocks import Clock, until
from support.https import HttpsServer, Seen, json_of

ALICE = Caller(subject="alice", tenants=("acme",))
Make = Callable[..., TokenVerifier]


@pytest.fixture
def other() -> TokenIssuer:
    return TokenIssuer("https://partner.example", "partner")


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Return what makes verifiers, which are closed after the test."""
    made: list[TokenVerifier] = []

    def verifier(*issuers: Issuer, **said: Any) -> TokenVerifier:
        made.append(TokenVerifier(issuers, **said))
        return made[-1]

    yield verifier
    for each in made:
        await each.close()


async def reason(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(errors.StatusError) as caught:
        await verifier.verify(token)
    return caught.value.reason


def by_url(issuer: TokenIssuer, server: HttpsServer, **said: Any) -> Issuer:
    url, fetch = f"{server.url}/jwks", Fetch(ca_file=server.ca_file, timeout_seconds=10)
    return Issuer(issuer=issuer.issuer, jwks_url=url, audiences=(issuer.audience,), fetch=fetch, **said)


def by_file(issuer: TokenIssuer, folder: Path, **said: Any) -> Issuer:
    issuer.save(folder / "key", folder / "jwks.json")
    return Issuer(issuer=issuer.issuer, jwks_file=folder / "jwks.json", audiences=(issuer.audience,), **said)


# --- several issuers -------------------------------------------------------------------------------------------


async def test_the_tokens_of_one_issuer_are_refused_for_another(
    make: Make, rules: Issuer, issuer: TokenIssuer, other: TokenIssuer, tmp_path: Path
) -> None:
    both = make(rules, by_file(other, tmp_path, algorithms=("ES256",)))
    assert (await both.verify(issuer.token(ALICE))).issuer == rules
    assert (await both.verify(other.token(ALICE))).issuer.issuer == other.issuer
    assert await reason(both, other.token(ALICE, iss=issuer.issuer)) == "TOKEN_KEY_UNKNOWN"
    assert await reason(both, other.token(ALICE, aud=issuer.audience)) == "TOKEN_AUDIENCE_WRONG"
    assert await reason(both, issuer.token(ALICE, aud=other.audience)) == "TOKEN_AUDIENCE_WRONG"
    impostor = other.sign({**_claims(other), "iss": issuer.issuer}, kid=issuer.key_id)
    assert await reason(both, impostor) == "TOKEN_SIGNATURE_WRONG"


def _claims(issuer: TokenIssuer) -> dict[str, Any]:
    taken: dict[str, Any] = {"sub": "alice", "aud": issuer.audience, "iat": 0, "exp": 9_999_999_999}
    return taken


async def test_each_issuer_calls_its_claims_what_it_likes(make: Make, other: TokenIssuer, tmp_path: Path) -> None:
    names = Claims(subject="preferred_username", tenants="https://a.b/tenants", groups="groups", roles="realm.roles")
    verifier = make(by_file(other, tmp_path, claims=names))
    said = {"preferred_username": "bob", "https://a.b/tenants": "acme", "realm": {"roles": ["r"]}}
    token = await verifier.verify(other.token(ALICE, **said))
    assert (token.subject, token.tenants, token.roles) == ("bob", frozenset({"acme"}), frozenset({"r"}))
    assert await reason(verifier, other.token(ALICE)) == "TOKEN_CLAIM_MISSING"
    for realm in ("roles", ["roles"], {"roles": 5}):
        expected = "TOKEN_MALFORMED" if isinstance(realm, dict) else ""
        token_text = other.token(ALICE, preferred_username="bob", realm=realm)
        if expected:
            assert await reason(verifier, token_text) == expected
        else:
            assert (await verifier.verify(token_text)).roles == frozenset()


def test_one_name_is_one_issuer(rules: Issuer) -> None:
    with pytest.raises(ConfigurationError, match="one name stands twice"):
        TokenVerifier((rules, rules))


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_file_of_keys_that_would_not_do_is_told_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "jwks.json").write_bytes(content)
    rules = Issuer(issuer="https://a", jwks_file=tmp_path / "jwks.json", audiences=("a",))
    told = "jwks.json: cannot be read" if content is None else "cannot be read as a JWKS"
    with pytest.raises(ConfigurationError, match=told):
        TokenVerifier((rules,))


# --- forgeries -------------------------------------------------------------------------------------------------


async def test_a_forged_token_is_refused_each_time_it_is_shown_and_verified_once(
    make: Make, rules: Issuer, issuer: TokenIssuer, other: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = make(rules)
    forged = other.sign({**_claims(other), "iss": issuer.issuer}, kid=issuer.key_id)
    tried: list[str] = []
    decode = jwt.decode

    def counting(token: str, *arguments: Any, **said: Any) -> Any:
        tried.append(token)
        return decode(token, *arguments, **said)

    monkeypatch.setattr(jwt, "decode", counting)
    for _ in range(3):
        assert await reason(verifier, forged) == "TOKEN_SIGNATURE_WRONG"
    assert tried == [forged]
    assert (await verifier.verify(issuer.token(ALICE))).subject == "alice"


async def test_a_token_is_believed_once_its_issuer_has_the_key_that_signed_it(
    make: Make, other: TokenIssuer, tmp_path: Path, clock: Clock
) -> None:
    verifier = make(by_file(other, tmp_path))
    [store] = verifier.stores.values()
    store._clock = clock
    new = TokenIssuer(other.issuer, other.audience)
    early = new.sign({**_claims(other), "iss": other.issuer}, kid=other.key_id)
    assert await reason(verifier, early) == await reason(verifier, early) == "TOKEN_SIGNATURE_WRONG"
    [key] = new.jwks()["keys"]
    store.take(orjson.dumps({"keys": [{**key, "kid": other.key_id}]}))
    assert (await verifier.verify(early)).subject == "alice"


def test_only_so_many_forgeries_are_remembered_those_shown_last() -> None:
    key: Any = object()
    forgery = Forgery("https://a", "1", key)
    forgeries = Forgeries(size=3)
    for number in range(10):
        forgeries.add(str(number), forgery)
        forgeries.add(str(number), forgery)  # found twice at the same time, it takes the place of one
        assert forgeries.find("0") is forgery  # it is shown again and again
    assert len(forgeries) == 3
    assert [number for number in range(10) if forgeries.find(str(number)) is forgery] == [0, 8, 9]


async def test_a_forged_token_is_its_issuers_without_being_taken_apart_again(
    make: Make, rules: Issuer, issuer: TokenIssuer, other: TokenIssuer
) -> None:
    verifier = make(rules)
    forged = other.sign({**_claims(other), "iss": issuer.issuer}, kid=issuer.key_id)
    for is_known in (False, True):
        entered: list[str] = []
        sys.setprofile(lambda frame, _event, _argument, entered=entered: entered.append(frame.f_code.co_name))  # type: ignore[misc]
        try:
            assert await reason(verifier, forged) == "TOKEN_SIGNATURE_WRONG"
            assert verifier.issuer_of(forged) == issuer.issuer
        finally:
            sys.setprofile(None)
        assert (tokens.take_apart.__name__ in entered) is not is_known


# --- keys that change ------------------------------------------------------------------------------------------


async def test_a_file_of_keys_is_read_again_and_a_retired_key_told(
    make: Make, other: TokenIssuer, tmp_path: Path, clock: Clock
) -> None:
    retired: list[str] = []
    verifier = make(by_file(other, tmp_path), on_retired=lambda: retired.append("told"))
    [store] = verifier.stores.values()
    store._clock = clock
    old, new = other.token(ALICE), TokenIssuer(other.issuer, other.audience)
    await verifier.verify(old)
    new.save(tmp_path / "key", tmp_path / "jwks.json")
    clock.pass_(1)
    assert (await verifier.verify(new.token(ALICE))).subject == "alice"
    assert await reason(verifier, old) == "TOKEN_KEY_UNKNOWN"
    assert retired == ["told"]


async def test_keys_come_by_https_and_are_asked_for_once(make: Make, server: HttpsServer, other: TokenIssuer) -> None:
    server.answer = lambda _: json_of(other.jwks())
    verifier = make(by_url(other, server))
    tokens = [other.token(Caller(subject=str(number))) for number in range(50)]
    found = await asyncio.gather(*map(verifier.verify, tokens))
    assert {token.subject for token in found} == {str(number) for number in range(50)}
    assert [seen.path for seen in server.seen] == ["/jwks"]


async def test_an_issuer_that_is_down_is_unavailable_and_holds_up_no_other(
    make: Make, server: HttpsServer, rules: Issuer, issuer: TokenIssuer, other: TokenIssuer
) -> None:
    verifier = make(rules, by_url(other, server))
    assert await reason(verifier, other.token(ALICE)) == "TOKEN_KEYS_UNAVAILABLE"
    assert (await verifier.verify(issuer.token(ALICE))).subject == "alice"


async def test_keys_that_are_too_old_are_used_no_more_nor_what_was_verified_by_them(
    make: Make, server: HttpsServer, other: TokenIssuer, clock: Clock
) -> None:
    server.answer = lambda _: json_of(other.jwks())
    verifier = make(by_url(other, server, keys=Keys(stale_limit_seconds=600)))
    [store] = verifier.stores.values()
    store._clock = clock
    clock.pass_(10)
    token = await verifier.verify(other.token(ALICE))
    assert token.recheck_at_seconds == pytest.approx(clock() + 600, abs=15)
    server.answer = lambda _: Response(status_code=503)
    clock.pass_(600)
    assert await reason(verifier, other.token(ALICE)) == "TOKEN_KEYS_UNAVAILABLE"


async def test_all_issuers_are_kept_fresh_until_the_service_ends(
    make: Make, server: HttpsServer, rules: Issuer, other: TokenIssuer
) -> None:
    server.answer = lambda _: json_of(other.jwks())
    verifier = make(rules, by_url(other, server))
    task = asyncio.create_task(verifier.keep_fresh())
    stores = verifier.stores.values()
    await until(lambda: all(store.use.fetches and store._fetching is None for store in stores))
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


# --- tokens that are no JWTs -----------------------------------------------------------------------------------


def asked(server: HttpsServer, name: str) -> Issuer:
    settings = Introspection(url=f"{server.url}/{name}")
    fetch = Fetch(ca_file=server.ca_file, timeout_seconds=10)
    return Issuer(issuer=f"https://{name}.example", audiences=("orders",), introspection=settings, fetch=fetch)


def active(seen: Seen) -> Response:
    """Know the tokens that begin with one's own name."""
    known = seen.form["token"].startswith(seen.path[1:])
    said = {"active": True, "aud": "orders", "sub": "alice", "iat": 0, "exp": 9_999_999_999}
    return json_of(said if known else {"active": False})


async def test_a_token_that_does_not_say_whose_it_is_is_asked_about_until_one_knows_it(
    make: Make, server: HttpsServer
) -> None:
    server.answer = active
    verifier = make(asked(server, "one"), asked(server, "two"))
    assert (await verifier.verify("one-a")).issuer.issuer == "https://one.example"
    assert [seen.path for seen in server.seen] == ["/one"]
    assert (await verifier.verify("two-a")).issuer.issuer == "https://two.example"
    assert await reason(verifier, "three-a") == "TOKEN_INACTIVE"


async def test_a_jwt_of_an_issuer_without_keys_is_asked_about_there_alone(
    make: Make, server: HttpsServer, other: TokenIssuer
) -> None:
    server.answer = lambda _: json_of({"active": True, "aud": "orders", "sub": "bob", "iat": 0, "exp": 9_999_999_999})
    verifier = make(asked(server, "one"), asked(server, "two"))
    token = await verifier.verify(other.token(ALICE, iss="https://two.example"))
    assert (token.subject, token.issuer.issuer) == ("bob", "https://two.example")
    assert [seen.path for seen in server.seen] == ["/two"]
    assert await reason(verifier, other.token(ALICE, iss="https://three.example")) == "TOKEN_ISSUER_UNKNOWN"
    assert len(server.seen) == 1


async def test_without_introspection_nobody_is_asked(make: Make, rules: Issuer) -> None:
    assert await reason(make(rules), "opaque") == "TOKEN_MALFORMED"
    assert await reason(make(), "opaque") == "TOKEN_MALFORMED"


async def test_a_jwt_of_an_issuer_with_keys_is_not_asked_about(
    make: Make, server: HttpsServer, other: TokenIssuer, tmp_path: Path
) -> None:
    settings = Introspection(url=server.url)
    verifier = make(by_file(other, tmp_path, introspection=settings))
    assert (await verifier.verify(other.token(ALICE))).subject == "alice"
    forged = TokenIssuer(other.issuer, other.audience)
    assert await reason(verifier, forged.token(ALICE)) == "TOKEN_KEY_UNKNOWN"
    assert server.seen == []


@pytest.mark.parametrize("token", ["\ud800", "é", "a\u200b", "a.b.\ud800"])
async def test_what_is_not_ascii_is_sent_to_nobody(make: Make, server: HttpsServer, token: str) -> None:
    assert await reason(make(asked(server, "one")), token) == "TOKEN_MALFORMED"
    assert server.seen == []
