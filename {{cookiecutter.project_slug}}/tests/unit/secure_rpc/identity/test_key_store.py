"""Keys are fetched once for all who wait, again before they are old, and never more often than allowed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import orjson
import pytest

from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity.fetching import FetchFailed
from secure_rpc.identity.key_store import KeyStore, KeysUnavailable

from support.clocks import Clock

OLD, NEW = (TokenIssuer("https://issuer.example.org", "orders") for _ in range(2))
REFRESH, INTERVAL, STALE = 300.0, 10.0, 3600.0


def jwks(*issuers: TokenIssuer) -> bytes:
    return orjson.dumps({"keys": [key for issuer in issuers for key in issuer.jwks()["keys"]]})


@dataclass
class Origin:
    """Where the keys come from."""

    document: bytes | Exception = field(default_factory=lambda: jwks(OLD))
    fetches: int = 0

    async def fetch(self) -> bytes:
        self.fetches += 1
        await asyncio.sleep(0.01)  # all who ask meanwhile must find this one under way
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


@dataclass
class World:
    """A store, what feeds it, and the time."""

    origin: Origin = field(default_factory=Origin)
    clock: Clock = field(default_factory=lambda: Clock(1000.0))
    retirements: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = KeyStore(
            "issuer",
            self.origin.fetch,
            refresh_seconds=REFRESH,
            minimum_interval_seconds=INTERVAL,
            stale_limit_seconds=STALE,
            on_retired=lambda: self.retirements.append("retired"),
            clock=self.clock,
        )

    async def has(self, issuer: TokenIssuer) -> bool:
        return await self.store.get(issuer.key_id) is not None

    async def keep_fresh(self, seconds: float) -> list[float]:
        """Have the store keep itself fresh for a while that passes at once; return how long it slept each time."""
        slept: list[float] = []
        end = self.clock.now + seconds
        asleep = asyncio.Event()

        async def sleep(wanted: float) -> None:
            slept.append(wanted)
            if self.clock.now + wanted > end:
                asleep.set()
                await asyncio.Event().wait()
            self.clock.pass_(wanted)

        task = asyncio.create_task(self.store.keep_fresh(sleep))
        asleep_task = asyncio.create_task(asleep.wait())
        await asyncio.wait({task, asleep_task}, return_when=asyncio.FIRST_COMPLETED)
        assert not task.done(), task.exception()
        task.cancel()
        return slept


@pytest.fixture
def world() -> World:
    return World()


# --- how often the issuer is asked -----------------------------------------------------------------------------


async def test_500_cold_look_ups_make_one_fetch(world: World) -> None:
    found = await asyncio.gather(*(world.store.get(OLD.key_id) for _ in range(500)))
    assert {key.key_id for key in found if key} == {OLD.key_id}
    assert None not in found
    assert world.origin.fetches == world.store.use.fetches == 1


async def test_2000_bogus_ids_make_no_more_than_one_fetch_in_each_interval(world: World) -> None:
    await world.store.get(OLD.key_id)
    for expected in (2, 3, 4):
        world.clock.pass_(INTERVAL)
        found = await asyncio.gather(*(world.store.get(f"bogus-{number}") for number in range(2000)))
        assert set(found) == {None}
        assert world.origin.fetches == expected
    world.clock.pass_(INTERVAL - 0.001)
    assert await world.store.get("bogus") is None
    assert world.origin.fetches == 4


async def test_what_fails_is_not_tried_again_at_once_either(world: World) -> None:
    world.origin.document = FetchFailed("down")
    for _ in range(3):
        answers = await asyncio.gather(*(world.store.get(OLD.key_id) for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {KeysUnavailable}
    assert world.origin.fetches == world.store.use.failures == 1


async def test_who_is_cancelled_while_it_waits_takes_the_fetch_from_nobody(world: World) -> None:
    first = asyncio.create_task(world.store.get(OLD.key_id))
    second = asyncio.create_task(world.store.get(OLD.key_id))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert world.origin.fetches == 1


async def test_keys_that_are_known_wait_for_nothing(world: World) -> None:
    assert world.store.known(OLD.key_id) is None
    await world.store.get(OLD.key_id)
    world.clock.pass_(STALE - 1)
    assert world.store.known(OLD.key_id) is not None
    assert world.origin.fetches == 1


# --- in the background -----------------------------------------------------------------------------------------


async def test_keys_are_fetched_anew_in_the_background_before_they_are_old(world: World) -> None:
    slept = await world.keep_fresh(10 * REFRESH)
    assert set(slept) == {REFRESH}
    assert world.origin.fetches == 11
    assert world.store.age_seconds <= REFRESH


async def test_an_issuer_that_is_down_is_tried_at_each_interval_until_it_is_back(world: World) -> None:
    world.origin.document = FetchFailed("down")
    assert set(await world.keep_fresh(5 * INTERVAL)) == {INTERVAL}
    assert world.store.use.failures == 6
    world.origin.document = jwks(OLD)
    world.clock.pass_(INTERVAL)
    await world.keep_fresh(1)
    assert world.store.known(OLD.key_id) is not None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"<html>",
        jwks(),
        orjson.dumps({"keys": [{**OLD.jwks()["keys"][0], "alg": [None]}]}),
        orjson.dumps({"keys": [{"kty": "RSA", "kid": "a", "n": "AA", "e": "AA"}]}),
        orjson.dumps({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}),
        OSError("unreadable"),
    ],
)
async def test_whatever_the_issuer_answers_the_background_goes_on_with_the_keys_there_were(
    world: World, document: bytes | Exception
) -> None:
    await world.store.get(OLD.key_id)
    world.origin.document = document
    world.clock.pass_(REFRESH)
    await world.keep_fresh(3 * INTERVAL)
    assert world.store.use.failures == 4
    assert world.store.known(OLD.key_id) is not None
    assert world.retirements == []


# --- rotation --------------------------------------------------------------------------------------------------


async def test_a_key_that_is_new_is_found_without_waiting_for_the_background(world: World) -> None:
    await world.store.get(OLD.key_id)
    world.origin.document = jwks(OLD, NEW)
    assert not await world.has(NEW)  # asked a moment ago
    world.clock.pass_(INTERVAL)
    assert await world.has(NEW)
    assert await world.has(OLD)
    assert world.retirements == []


async def test_a_key_that_is_retired_is_told_once_and_no_longer_known(world: World) -> None:
    world.origin.document = jwks(OLD, NEW)
    await world.store.get(OLD.key_id)
    world.origin.document = jwks(NEW)
    for _ in range(3):
        world.clock.pass_(INTERVAL)
        await world.store.refresh()
    assert world.store.known(OLD.key_id) is None
    assert world.store.known(NEW.key_id) is not None
    assert (world.retirements, world.store.use.retired) == (["retired"], 1)


async def test_another_key_under_the_same_id_counts_as_a_retirement(world: World) -> None:
    await world.store.get(OLD.key_id)
    world.origin.document = orjson.dumps({"keys": [{**NEW.jwks()["keys"][0], "kid": OLD.key_id}]})
    world.clock.pass_(INTERVAL)
    await world.store.refresh()
    assert world.retirements == ["retired"]


async def test_a_bad_document_retires_nothing(world: World) -> None:
    await world.store.get(OLD.key_id)
    world.origin.document = b"{}"
    world.clock.pass_(INTERVAL)
    await world.store.refresh()
    assert (world.retirements, world.store.use.failures) == ([], 1)
    assert world.store.known(OLD.key_id) is not None


# --- when the issuer is down for long --------------------------------------------------------------------------


async def test_keys_are_used_until_the_limit_and_not_a_moment_longer(world: World) -> None:
    await world.store.get(OLD.key_id)
    world.origin.document = FetchFailed("down")
    world.clock.pass_(STALE - 0.001)
    assert await world.has(OLD)
    world.clock.pass_(0.001)
    assert world.store.known(OLD.key_id) is None
    for key_id in (OLD.key_id, "bogus"):
        with pytest.raises(KeysUnavailable):
            await world.store.get(key_id)


async def test_keys_are_back_when_the_issuer_is(world: World) -> None:
    await world.store.get(OLD.key_id)
    world.origin.document = FetchFailed("down")
    world.clock.pass_(STALE)
    with pytest.raises(KeysUnavailable):
        await world.store.get(OLD.key_id)
    world.origin.document = jwks(OLD)
    world.clock.pass_(INTERVAL)
    assert await world.has(OLD)
    assert world.store.age_seconds == 0
    assert world.retirements == []
