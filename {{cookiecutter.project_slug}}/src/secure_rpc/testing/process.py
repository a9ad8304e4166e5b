"""A service in a process of its own, started by its command as in production: for signals, crashes and exit codes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

START_SECONDS = 30.0


class ServiceProcess:
    """A service that runs elsewhere.

    Args:
        process: the process.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []  # of its log
        self.text: list[str] = []  # lines that are no JSON
        self._reading = asyncio.create_task(self._read())
        self._grown = asyncio.Condition()

    async def line(self, event: str, within_seconds: float = START_SECONDS, *, count: int = 1) -> dict[str, Any]:
        """Return a log line of an event, waiting for it if need be.

        Args:
            event: which.
            within_seconds: how long to wait.
            count: which of several; the first is 1.

        Raises:
            AssertionError: the process ended without it.
        """
        async with asyncio.timeout(within_seconds), self._grown:
            while True:
                found = [line for line in self.lines if line.get("event") == event]
                if len(found) >= count:
                    return found[count - 1]
                if self._reading.done():
                    raise AssertionError(f"the service ended without {event!r}:\n" + "\n".join(self.text))
                await self._grown.wait()

    async def address(self) -> str:
        """Return "host:port" of the gRPC port, once it listens."""
        return str((await self.line("serving"))["address"])

    async def admin(self) -> str:
        """Return "host:port" of the admin port, once it listens."""
        return str((await self.line("serving"))["admin"])

    async def ended(self, within_seconds: float = START_SECONDS) -> int:
        """Return the exit code."""
        async with asyncio.timeout(within_seconds):
            code = await self.process.wait()
            await self._reading
        return code

    async def _read(self) -> None:
        stream = self.process.stdout
        if stream is None:
            raise RuntimeError("the process has no output to read")
        async for raw in stream:
            async with self._grown:
                try:
                    self.lines.append(orjson.loads(raw))
                except orjson.JSONDecodeError:
                    self.text.append(raw.decode(errors="replace").rstrip())
                self._grown.notify_all()
        async with self._grown:
            self._grown.notify_all()


@asynccontextmanager
async def start_process(
    module: str, config: Path, overrides: Mapping[str, str] | None = None
) -> AsyncIterator[ServiceProcess]:
    """Start a service by its module, with JSON logs, and end it afterwards.

    Args:
        module: run as `python -m module serve`.
        config: the settings.
        overrides: further settings, as environment variables.
    """
    environment = {**os.environ, "SECURE_RPC_LOGGING__FORMAT": "json", **(overrides or {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "serve", "--config", str(config), stdout=PIPE, stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )  # fmt: skip
    try:
        yield ServiceProcess(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
