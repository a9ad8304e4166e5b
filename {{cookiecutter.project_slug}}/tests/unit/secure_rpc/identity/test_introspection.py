"""An issuer is asked about tokens that say nothing: once for all who wait, remembered not too long, never assumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.identity.fetching import Fetcher
from secure_rpc.identity.introspection import Introspector
from secure_rpc.identity.issuer import Introspection, Issuer

from support.clocks import Clock
from support.https import Answer, HttpsServer, Seen, https_server, json_of

ISSUER = "https://issuer.example.org"


class World:
    """An introspector, the server that it asks, and the time."""

    def __init__(self, server: HttpsServer, clock: Clock, folder: Path) -> None:
        self.server = server
        self.clock = clock
        self.durations: list[float] = []
        self.secret_file = folder / "secret"
        self.secret_file.write_text("hunter2\n", encoding="utf-8")
        self.fetcher = Fetcher(10, server.ca_file)

    def introspector(self, **said: Any) -> Introspector:
        settings = Introspection(
            url=f"{self.server.url}/introspect",
            **{"client_id": "orders", "client_secret_file": self.secret_file, **said},
        )
        issuer = Issuer(issuer=ISSUER, audiences=("orders", "invoices"), introspection=settings)
        return Introspector(issuer, settings, self.fetcher, on_duration=self.durations.append, clock=self.clock)

    def claims(self, **said: Any) -> dict[str, Any]:
        usual = {
            "active": True,
            "iss": ISSUER,
            "aud": "orders",
            "sub": "alice",
            "iat": int(self.clock()),
            "exp": int(self.clock()) + 600,
        }
        return {key: value for key, value in {**usual, **said}.items() if value is not None}

    def answers(self, **said: Any) -> Answer:
        return lambda _: json_of(self.claims(**said))

    @property
    def asked(self) -> int:
        return len(self.server.seen)


@pytest.fixture
async def world(server: HttpsServer, clock: Clock, tmp_path: Path) -> AsyncIterator[World]:
    made = World(server, clock, tmp_path)
    yield made
    await made.fetcher.close()


async def reason(introspector: Introspector, text: str = "opaque") -> str:
    with pytest.raises(errors.StatusError) as caught:
        await introspector.introspect(text)
    return caught.value.reason


# --- what is asked, and what is believed -----------------------------------------------------------------------


async def test_an_active_token_tells_who_calls(world: World) -> None:
    world.server.answer = world.answers(tenant=["acme"], groups="callers", roles=["r"], cnf={"x5t#S256": "abc"})
    token = await world.introspector().introspect("opaque")
    assert (token.issuer.issuer, token.subject, token.tenants) == (ISSUER, "alice", frozenset({"acme"}))
    assert (token.groups, token.roles, token.certificate_thumbprint) == (
        frozenset({"callers"}),
        frozenset({"r"}),
        "abc",
    )
    assert token.expires_at_seconds == int(world.clock()) + 600 + 30
    [seen] = world.server.seen
    assert (seen.verb, seen.path) == ("POST", "/introspect")
    assert seen.form == {"token": "opaque", "token_type_hint": "access_token"}
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert len(world.durations) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"active": None},
        {"aud": None},
        {"aud": "others"},
        {"aud": ["others"]},
        {"aud": []},
        {"aud": "ORDERS"},
        {"iss": "https://evil.example.org"},
        {"iss": ISSUER + "/"},
        {"exp": None},
        {"exp": 1},
        {"exp": "9999999999"},
        {"exp": True},
        {"nbf": 99_999_999_999},
        {"nbf": "0"},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"tenant": 5},
        {"groups": [1]},
        {"cnf": {"jkt": "abc"}},
    ],
)
async def test_a_token_that_is_not_active_or_not_for_us_is_refused(world: World, said: dict[str, Any]) -> None:
    world.server.answer = world.answers(**said)
    missing = said == {"active": None}  # no answer at all
    assert await reason(world.introspector()) == ("TOKEN_INTROSPECTION_UNAVAILABLE" if missing else "TOKEN_INACTIVE")


async def test_an_answer_need_not_name_the_issuer_that_gives_it(world: World) -> None:
    world.server.answer = world.answers(iss=None, aud=["others", "invoices"])
    assert (await world.introspector().introspect("opaque")).subject == "alice"


async def test_clocks_may_differ_by_the_leeway(world: World) -> None:
    now = int(world.clock())
    world.server.answer = world.answers(exp=now - 20, nbf=now + 20)
    assert (await world.introspector(cache_seconds=0).introspect("opaque")).subject == "alice"
    for said in ({"exp": now - 31}, {"nbf": now + 32}):
        world.server.answer = world.answers(**said)
        assert await reason(world.introspector()) == "TOKEN_INACTIVE"


async def test_a_token_that_is_too_large_is_not_asked_about(world: World) -> None:
    assert await reason(world.introspector(), "x" * 8193) == "TOKEN_TOO_LARGE"
    assert world.asked == 0


# --- no answer is no ---------------------------------------------------------------------------------------------


async def silent(_: Seen) -> Response:
    await asyncio.sleep(5)
    return json_of({"active": True})


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        lambda _: Response(status_code=500),
        lambda _: Response(status_code=401),
        lambda _: Response(status_code=302, headers={"location": "/active"}),
        lambda _: Response(b""),
        lambda _: Response(b"<html>"),
        lambda _: Response(b"{" * 100_000),
        lambda _: json_of([]),
        lambda _: json_of("active"),
        lambda _: json_of(None),
        lambda _: json_of({}),
        lambda _: json_of({"active": True, "aud": [{}]}),
        lambda _: Response(b'{"active": true, ' + b" " * 1_000_001),
    ],
)
async def test_without_an_answer_nobody_is_believed_and_nothing_remembered(
    world: World, answer: Callable[[Seen], Any]
) -> None:
    world.server.answer = answer
    introspector = world.introspector()
    patient, impatient = world.fetcher, Fetcher(0.5, world.server.ca_file)
    introspector._fetcher = impatient if answer is silent else patient
    assert await reason(introspector) == "TOKEN_INTROSPECTION_UNAVAILABLE"
    introspector._fetcher = patient
    await impatient.close()
    assert (len(introspector), introspector.use.failures, len(world.durations)) == (0, 1, 1)
    world.server.answer = world.answers()
    assert (await introspector.introspect("opaque")).subject == "alice"


async def test_who_is_refused_for_want_of_an_answer_may_come_again(world: World) -> None:
    with pytest.raises(errors.Unavailable) as caught:
        await world.introspector().introspect("opaque")
    assert caught.value.message == "the issuer cannot be asked"
    assert world.server.url not in caught.value.message


# --- who asks ----------------------------------------------------------------------------------------------------


async def test_the_client_shows_its_name_and_secret(world: World) -> None:
    world.server.answer = world.answers()
    await world.introspector().introspect("opaque")
    assert world.server.seen[0].headers["authorization"] == "Basic b3JkZXJzOmh1bnRlcjI="


async def test_the_client_shows_its_certificate_and_its_name_alone(
    world: World, authority: Authority, tmp_path: Path
) -> None:
    """RFC 8705, section 2: the certificate proves who `client_id` is."""
    pem, key = tmp_path / "client.pem", tmp_path / "client.key"
    authority.issue(client_request("orders", "example.org")).write(pem, key)
    with https_server(tmp_path / "server", authority, clients=authority) as server:
        world.server, server.answer = server, world.answers()
        await world.fetcher.close()
        world.fetcher = Fetcher(10, server.ca_file, pem, key)
        for client_id in ("orders", ""):
            introspector = world.introspector(client_id=client_id, client_secret_file=None)
            assert (await introspector.introspect("opaque")).subject == "alice"
            assert "authorization" not in server.seen[-1].headers
            assert server.seen[-1].form.get("client_id", "") == client_id
        await world.fetcher.close()
        world.fetcher = Fetcher(10, server.ca_file)
        assert await reason(world.introspector()) == "TOKEN_INTROSPECTION_UNAVAILABLE"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_secret_that_cannot_be_read_is_told_at_the_start(world: World, content: bytes | None) -> None:
    world.secret_file.unlink()
    if content is not None:
        world.secret_file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        world.introspector()
    assert f"introspection.client_secret_file: {world.secret_file} cannot be read (" in caught.value.problems[0]
