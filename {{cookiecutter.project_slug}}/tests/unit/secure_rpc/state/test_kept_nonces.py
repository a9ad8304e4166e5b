"""Nonces that outlive the process that noted them: in a file, and in a store that replicas share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.connection import State
from secure_rpc.state.local_file import LocalFile
from secure_rpc.state.local_nonces import LocalNonces
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_nonces import RedisNonces

from support.clocks import Clock
from support.stores import RealStore, real_store

START = 1_780_000_000.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealStore]:
    async with real_store(tmp_path / "store") as running:
        yield running


def shared(server: RealStore) -> Store:
    return Store(State(redis_url=server.url, timeout_seconds=2), "orders")


# --- in a file -----------------------------------------------------------------------------------------------------


async def test_two_processes_of_a_machine_know_of_each_others_nonces_and_so_does_the_one_after_them(
    tmp_path: Path,
) -> None:
    clock, path = Clock(START), tmp_path / "state" / "calls.db"
    files = [LocalFile(path, clock=clock) for _ in range(2)]
    one, other = (LocalNonces(file, 10) for file in files)
    assert await one.add("alice n", 600)
    assert not await other.add("alice n", 600)
    assert await other.add("bob n", 600)
    for file in files:
        await file.close()
    clock.now += 100
    again = LocalFile(path, clock=clock)
    nonces = LocalNonces(again, 10)
    assert not await nonces.add("bob n", 600)
    assert nonces.began_seconds == START
    clock.now = START + 600
    assert await nonces.add("alice n", 600)
    await again.close()


async def test_there_is_an_end_to_what_a_file_remembers(tmp_path: Path) -> None:
    clock = Clock(START)
    file = LocalFile(tmp_path / "calls.db", clock=clock)
    nonces = LocalNonces(file, 3)
    for number in range(3):
        assert await nonces.add(f"n{number}", 10)
    with pytest.raises(StoreUnavailable, match="full"):
        await nonces.add("one more", 10)
    assert not await nonces.add("n1", 10)
    clock.now += 10
    assert await nonces.add("one more", 10)
    await file.close()
    with pytest.raises(StoreUnavailable):
        await nonces.add("too late", 10)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    LocalFile(tmp_path / "calls.db")
    assert (tmp_path / "calls.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_text("somebody's notes, long enough to be no empty database " * 40)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"replay\.file: .*calls\.db cannot be used .*choose another place"):
        LocalFile(path)
    assert path.read_bytes() == before
    with pytest.raises(ConfigurationError, match="cannot be used"):
        LocalFile(path / "below-a-file")


@pytest.mark.skipif("A_MILLION_NONCES" not in os.environ, reason="takes minutes; set A_MILLION_NONCES to see it")
async def test_a_million_nonces_fit(tmp_path: Path) -> None:
    file = LocalFile(tmp_path / "calls.db")
    nonces = LocalNonces(file, 1_000_000)
    for number in range(1_000_000):
        assert await nonces.add(f"alice {number}", 600)
    with pytest.raises(StoreUnavailable):
        await nonces.add("one more", 600)
    await file.close()
    assert (tmp_path / "calls.db").stat().st_size < 150_000_000


# --- in a store ----------------------------------------------------------------------------------------------------


async def test_replicas_know_of_each_others_nonces(server: RealStore) -> None:
    stores = [shared(server) for _ in range(2)]
    one, other = map(RedisNonces, stores)
    assert await one.add("alice n", 600)
    assert not await other.add("alice n", 600)
    assert await other.add("bob n", 600)
    assert one.began_seconds == other.began_seconds > START
    for store in stores:
        await store.close()


async def test_a_nonce_goes_by_itself(server: RealStore) -> None:
    store = shared(server)
    nonces = RedisNonces(store)
    assert await nonces.add("alice n", 600)
    keys = await store.run(lambda client: client.keys("*nonce:*"))
    assert len(keys) == 1
    assert 599_000 < await store.run(lambda client: client.pttl(keys[0])) <= 600_000
    assert len(keys[0]) < 60
    await store.close()


async def test_a_store_that_was_emptied_says_that_it_begins_anew(server: RealStore) -> None:
    store = shared(server)
    nonces = RedisNonces(store)
    await nonces.add("alice n", 600)
    began = nonces.began_seconds
    await store.run(lambda client: client.flushall())
    assert await nonces.add("alice n", 600)
    assert nonces.began_seconds > began
    await store.close()


async def test_a_store_that_is_down_is_said_to_be(server: RealStore) -> None:
    store = shared(server)
    nonces = RedisNonces(store)
    server.kill()
    with pytest.raises(StoreUnavailable):
        await nonces.add("alice n", 600)
    await store.close()
