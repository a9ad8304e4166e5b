"""What an issuer has said of a token is remembered, and a revocation is noticed in the time that the settings give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import Response

from secure_rpc import errors
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.fetching import Fetcher
from secure_rpc.identity.introspection import Introspector
from secure_rpc.identity.issuer import Fetch, Introspection, Issuer
from secure_rpc.identity.principal import Credential, Identities, Shown
from secure_rpc.identity.tokens import TokenVerifier

from support.clocks import Clock, until
from support.https import HttpsServer, Seen, json_of

ISSUER = "https://issuer.example.org"


class World:
    """An introspector, and an issuer that knows which tokens are revoked."""

    def __init__(self, server: HttpsServer, clock: Clock) -> None:
        self.server, self.clock = server, clock
        self.server.answer = self.answer
        self.revoked: set[str] = set()
        self.expires = int(clock()) + 3600
        self.fetcher = Fetcher(20, server.ca_file)

    async def answer(self, seen: Seen) -> Response:
        await asyncio.sleep(0.02)  # all who ask meanwhile must find this one under way
        if seen.form["token"].startswith("guess") or seen.form["token"] in self.revoked:
            return json_of({"active": False})
        return json_of({"active": True, "aud": "orders", "sub": "alice", "iat": 0, "exp": self.expires})

    def issuer(self, **said: Any) -> Issuer:
        settings = Introspection(url=self.server.url, **said)
        return Issuer(
            issuer=ISSUER,
            audiences=("orders",),
            introspection=settings,
            fetch=Fetch(ca_file=self.server.ca_file, timeout_seconds=20),
        )

    def introspector(self, **said: Any) -> Introspector:
        issuer = self.issuer(**said)
        assert issuer.introspection
        return Introspector(issuer, issuer.introspection, self.fetcher, clock=self.clock)

    @property
    def asked(self) -> int:
        return len(self.server.seen)


@pytest.fixture
async def world(server: HttpsServer, clock: Clock) -> AsyncIterator[World]:
    made = World(server, clock)
    yield made
    await made.fetcher.close()


async def is_active(introspector: Introspector, text: str = "opaque") -> bool:
    try:
        await introspector.introspect(text)
    except errors.Unauthenticated:
        return False
    return True


async def test_300_who_wait_for_the_same_token_make_one_request(world: World) -> None:
    introspector = world.introspector(cache_seconds=0)
    assert set(await asyncio.gather(*(is_active(introspector) for _ in range(300)))) == {True}
    assert world.asked == introspector.use.requests == 1
    assert set(await asyncio.gather(*(is_active(introspector, "guess") for _ in range(300)))) == {False}
    assert world.asked == 2


async def test_who_is_cancelled_while_it_waits_takes_the_answer_from_nobody(world: World) -> None:
    introspector = world.introspector()
    first, second = (asyncio.create_task(is_active(introspector)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second
    assert world.asked == 1


async def test_an_answer_is_remembered_for_its_time_and_a_revocation_noticed_after_it(world: World) -> None:
    introspector = world.introspector(cache_seconds=30)
    assert await is_active(introspector)
    world.revoked.add("opaque")
    world.clock.pass_(29.9)
    assert await is_active(introspector)
    assert world.asked == 1
    world.clock.pass_(0.1)
    assert not await is_active(introspector)
    assert world.asked == 2


async def test_an_answer_is_not_remembered_beyond_the_end_of_the_token(world: World) -> None:
    world.expires = int(world.clock()) - 20  # 10 s of the leeway are left
    introspector = world.introspector(cache_seconds=30)
    assert await is_active(introspector)
    world.clock.pass_(11)
    assert not await is_active(introspector)


async def test_a_no_is_remembered_for_a_shorter_time(world: World) -> None:
    introspector = world.introspector(negative_cache_seconds=5)
    assert not await is_active(introspector, "guess")
    world.clock.pass_(4.9)
    assert not await is_active(introspector, "guess")
    assert world.asked == 1
    world.clock.pass_(0.1)
    assert not await is_active(introspector, "guess")
    assert world.asked == 2


async def test_nothing_is_remembered_where_the_settings_say_so(world: World) -> None:
    introspector = world.introspector(cache_seconds=0, negative_cache_seconds=0)
    for text in ("opaque", "opaque", "guess", "guess"):
        await is_active(introspector, text)
    assert world.asked == 4


async def test_no_more_answers_are_remembered_than_told_and_the_one_unused_for_longest_goes_first(world: World) -> None:
    introspector = world.introspector(remembered_tokens=3)
    for number in range(20):
        await is_active(introspector, "opaque")
        await is_active(introspector, f"guess-{number}")
        assert len(introspector) <= 3
    assert world.asked == 21, "the one in use was forgotten"


async def test_all_is_asked_anew_after_forget(world: World) -> None:
    introspector = world.introspector()
    assert await is_active(introspector)
    world.revoked.add("opaque")
    introspector.forget()
    assert not await is_active(introspector)


async def test_an_answer_that_was_on_its_way_before_forget_is_not_remembered(world: World) -> None:
    introspector = world.introspector()
    waiting = asyncio.create_task(is_active(introspector))
    await until(lambda: world.asked)
    introspector.forget()
    assert await waiting
    assert len(introspector) == 0


async def test_neither_tokens_nor_their_claims_are_kept_as_keys(world: World) -> None:
    introspector = world.introspector()
    await is_active(introspector, "opaque-secret")
    assert "opaque-secret" not in repr(introspector._answers.keys())
    assert "opaque-secret" not in repr(introspector._answers)


@pytest.mark.parametrize("cache_seconds", [0, 30])
async def test_a_revocation_is_noticed_in_its_time_also_by_those_who_remember_principals(
    world: World, authority: Authority, cache_seconds: int
) -> None:
    tokens = TokenVerifier((world.issuer(cache_seconds=cache_seconds),))
    [introspector] = tokens.introspectors.values()
    introspector._clock = world.clock
    identities = Identities(certificate_reader("example.org"), tokens, None, {Credential.BOTH}, clock=world.clock)
    pem = authority.issue(Request("orders", uris=["spiffe://example.org/a"])).certificate_pem
    shown = Shown(pem, b"", "Bearer opaque", "")
    assert (await identities.verify(shown)).subject == "alice"
    world.revoked.add("opaque")
    world.clock.pass_(max(cache_seconds - 0.1, 0))
    assert (identities.known(shown) is not None) == bool(cache_seconds)
    world.clock.pass_(0.1)
    assert identities.known(shown) is None
    with pytest.raises(errors.Unauthenticated):
        await identities.verify(shown)
    await tokens.close()
