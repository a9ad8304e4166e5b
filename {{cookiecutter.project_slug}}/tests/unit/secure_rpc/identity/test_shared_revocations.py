"""What is shared counts until its end or until it is taken back, whatever becomes of the store, and no longer."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.deny_list import Revocation
from secure_rpc.identity.revocation import AnyOf, NothingRevoked
from secure_rpc.identity.shared_revocations import (
    MAX_ITEM_BYTES,
    REMEMBERED_SECONDS,
    SharedRevocations,
    field_of,
    share,
    take_back,
)
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.connection import State
from secure_rpc.state.redis import Store
from secure_rpc.state.versioned_hash import VersionedHash

from support.clocks import Clock
from support.stores import RealStore, real_store

ISSUER = "https://issuer.example.org"
KEY = "{orders}:revocations"
MAX_STALENESS_SECONDS = 300
STALL_SECONDS = 0.02
RIGHTS = Path("docs/certificates.md").read_text(encoding="utf-8")


def of(subject: str, **more: Any) -> Revocation:
    return Revocation(subject=subject, issuer=ISSUER, **more)


class World:
    """A store, the list in it, and replicas that follow it."""

    def __init__(self, store: RealStore) -> None:
        self.server = store
        self.store = Store(State(redis_url=store.url, timeout_seconds=2), "orders")
        self.items = VersionedHash(self.store, "revocations")
        self.clock = Clock()
        self.results: list[bool] = []

    def replica(self, **options: Any) -> SharedRevocations:
        return SharedRevocations(
            self.items,
            max_staleness_seconds=MAX_STALENESS_SECONDS,
            on_reload=self.results.append,
            clock=self.clock,
            monotonic=self.clock,
            **options,
        )

    async def command(self, *words: Any) -> Any:
        async def run(client: Redis) -> Any:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]

        return await self.store.run(run)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with real_store(tmp_path / "store") as store:
        made = World(store)
        yield made
        await made.store.close()


def refusal(source: Any, subject: str, token_id: str = "") -> str:
    try:
        source.check_user(ISSUER, subject, token_id)
    except errors.StatusError as error:
        return error.recorded_reason
    return ""


async def test_what_is_shared_counts_until_its_end_or_until_it_is_taken_back(world: World) -> None:
    replica = world.replica()
    assert not await replica.refresh()  # nothing is there, and that is known
    assert refusal(replica, "alice") == ""
    end = datetime.fromtimestamp(world.clock.now + 100, UTC)
    assert await share(world.items, of("mallory", until=end), world.clock.now)
    assert await share(world.items, of("thief", reason="laptop stolen"), world.clock.now)
    assert not await share(world.items, of("thief"), world.clock.now)
    assert await replica.refresh()
    assert not await replica.refresh()
    assert (refusal(replica, "mallory"), refusal(replica, "thief")) == ("SUBJECT_REVOKED", "SUBJECT_REVOKED")
    assert refusal(AnyOf(NothingRevoked(), replica), "thief") == "SUBJECT_REVOKED"
    world.clock.pass_(101)
    assert await take_back(world.items, of("thief"), world.clock.now)
    assert not await take_back(world.items, of("thief"), world.clock.now)
    assert await replica.refresh()
    assert (refusal(replica, "mallory"), refusal(replica, "thief"), len(replica)) == ("", "", 0)
    assert await share(world.items, of("thief"), world.clock.now)
    assert await replica.refresh()
    assert refusal(replica, "thief") == "SUBJECT_REVOKED"


async def test_what_has_come_to_its_end_is_taken_out_by_the_next_who_writes(world: World) -> None:
    end = datetime.fromtimestamp(world.clock.now + 100, UTC)
    await share(world.items, of("mallory", until=end), world.clock.now)
    await share(world.items, of("thief"), world.clock.now)
    await take_back(world.items, of("thief"), world.clock.now)
    world.clock.pass_(101)
    await share(world.items, of("bob"), world.clock.now)
    assert await world.command("HLEN", KEY) == 2  # who was away has to learn that the thief is one no more
    world.clock.pass_(REMEMBERED_SECONDS)
    await share(world.items, of("carol"), world.clock.now)
    assert await world.command("HKEYS", KEY) == [field_of(of(name).entry()) for name in ("bob", "carol")]


async def test_a_store_that_has_lost_what_it_held_lets_nobody_in_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    replica = world.replica()
    end = datetime.fromtimestamp(world.clock.now + 100, UTC)
    await share(world.items, of("mallory", until=end), world.clock.now)
    await share(world.items, of("thief"), world.clock.now)
    assert await replica.refresh()
    await world.command("FLUSHALL")
    assert not await replica.refresh()
    assert "2 revocations are gone from the shared store" in caplog.text
    await share(world.items, of("bob"), world.clock.now)
    await replica.refresh()
    assert [refusal(replica, who) for who in ("mallory", "thief", "bob")] == ["SUBJECT_REVOKED"] * 3
    world.clock.pass_(101)
    await take_back(world.items, of("thief"), world.clock.now)
    await replica.refresh()
    assert [refusal(replica, who) for who in ("mallory", "thief", "bob")] == ["", "", "SUBJECT_REVOKED"]


@pytest.mark.parametrize("refuse", [True, False])
async def test_what_is_not_confirmed_for_too_long_decides_as_the_settings_say(
    world: World, caplog: pytest.LogCaptureFixture, *, refuse: bool
) -> None:
    unknown = "REVOCATION_UNKNOWN" if refuse else ""
    replica = world.replica(refuse_when_stale=refuse)
    assert refusal(replica, "alice") == unknown  # it has never known
    await share(world.items, of("thief"), world.clock.now)
    assert await replica.refresh()
    assert (refusal(replica, "alice"), replica.is_refusing) == ("", False)
    world.server.kill()
    world.clock.pass_(MAX_STALENESS_SECONDS)
    assert not await replica.refresh()
    assert refusal(replica, "alice") == ""
    world.clock.pass_(1)
    assert await replica.refresh() is refuse  # streams are looked at again
    assert not await replica.refresh()
    assert (refusal(replica, "alice"), refusal(replica, "thief")) == (unknown, "SUBJECT_REVOKED")
    assert replica.is_refusing is refuse
    assert caplog.text.count("what it revokes is left as it was") == 1
    assert ("all calls are refused" in caplog.text) is refuse


def hostile(**changes: Any) -> bytes:
    return orjson.dumps({"revoked": {"subject": "eve", "issuer": ISSUER}} | changes)


EVE = field_of(of("eve").entry())
MALFORMED: dict[str, tuple[bytes, bytes]] = {
    "no JSON": (EVE, b"\xff{"),
    "deep JSON": (EVE, b"[" * 4000),
    "no item": (EVE, b"[]"),
    "nothing named": (EVE, hostile(revoked={})),
    "an unknown key": (EVE, hostile(until="2030-01-01")),
    "another's name": (field_of(of("alice").entry()), hostile()),
    "no name": (b"", hostile()),
    "too long": (EVE, hostile() + b" " * MAX_ITEM_BYTES),
    "no date": (EVE, hostile(revoked={"subject": "eve", "issuer": ISSUER, "until": "9999999999999-01-01"})),
    "no certificate's issuer": (EVE, hostile(revoked={"serial": "1", "issuer": "CN"})),
    "no moment": (EVE, hostile(taken_back="soon")),
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_a_malformed_item_is_told_and_the_others_count(
    world: World, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    await share(world.items, of("thief"), world.clock.now)
    await world.command("HSET", KEY, *MALFORMED[kind])
    replica = world.replica()
    assert await replica.refresh()
    assert (refusal(replica, "thief"), refusal(replica, "alice"), replica.malformed) == ("SUBJECT_REVOKED", "", 1)
    assert "does not count, for it is malformed" in caplog.text
    assert world.results == [False]


async def test_one_that_is_spoilt_stays_in_force_where_it_was_known(world: World) -> None:
    await share(world.items, of("eve"), world.clock.now)
    replica = world.replica()
    await replica.refresh()
    await world.command("HSET", KEY, EVE, b"spoilt")
    await share(world.items, of("thief"), world.clock.now)
    assert await replica.refresh()
    assert (refusal(replica, "eve"), replica.malformed) == ("SUBJECT_REVOKED", 1)


async def test_keys_of_another_kind_leave_what_was_known(world: World) -> None:
    await share(world.items, of("thief"), world.clock.now)
    replica = world.replica()
    await replica.refresh()
    await world.command("SET", KEY, "no hash")
    await world.command("SET", KEY + ":version", "other")
    assert not await replica.refresh()
    assert world.results == [True, False]
    await world.command("DEL", KEY + ":version")
    await world.command("LPUSH", KEY + ":version", "no text")
    assert not await replica.refresh()
    assert refusal(replica, "thief") == "SUBJECT_REVOKED"


async def test_the_rights_that_the_page_on_certificates_gives_are_enough_and_readers_cannot_write(
    world: World, tmp_path: Path
) -> None:
    rules = re.findall(r"^user (\w+) on >password ~\S*service name\}:\* (.*)$", RIGHTS, re.MULTILINE)
    (tmp_path / "password").write_text("password")
    users = {}
    for name, rights in rules:
        await world.command("ACL", "SETUSER", name, "on", ">password", "~{orders}:*", *rights.split())
        settings = State(
            redis_url=world.server.url, username=name, password_file=tmp_path / "password", timeout_seconds=2
        )
        users[name] = Store(settings, "orders")
    lists = {name: VersionedHash(store, "revocations") for name, store in users.items()}
    assert await share(lists["operator"], of("mallory", until=datetime(2000, 1, 1, tzinfo=UTC)))
    assert await share(lists["operator"], of("thief"))
    with pytest.raises(StoreUnavailable, match="NoPermission"):
        await take_back(lists["reader"], of("thief"))
    replica = SharedRevocations(lists["reader"], max_staleness_seconds=MAX_STALENESS_SECONDS)
    assert await replica.refresh()
    assert refusal(replica, "thief") == "SUBJECT_REVOKED"
    for store in users.values():
        await store.close()


async def test_of_two_who_write_at_once_neither_undoes_the_other(world: World) -> None:
    assert all(await asyncio.gather(*(share(world.items, of(f"user-{number}")) for number in range(3))))
    assert await world.command("HLEN", KEY) == 3
    seen = await world.items.version()
    await share(world.items, of("thief"))
    assert not await world.items.put(b"a", b"b", drop=(), seen=seen)
    with pytest.raises(ConfigurationError, match="shorten"):
        await share(world.items, of("a" * MAX_ITEM_BYTES))


async def test_10_000_are_read_while_calls_go_on(world: World) -> None:
    entries = [of(f"user-{number}") for number in range(10_000)]
    flat = [part for each in entries for part in (
        field_of(each.entry()), orjson.dumps({"revoked": {"subject": each.subject, "issuer": ISSUER}})
    )]  # fmt: skip
    await world.command("HSET", KEY, *flat)
    replica = world.replica()
    gc.freeze()  # as the server does
    longest, last = 0.0, time.perf_counter()
    reading = asyncio.create_task(replica.refresh())
    while not reading.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    gc.unfreeze()
    assert await reading
    assert refusal(replica, "user-9999") == "SUBJECT_REVOKED"
    assert len(replica) == 10_000
    assert longest < 5 * STALL_SECONDS  # one, on a machine that is not busy
