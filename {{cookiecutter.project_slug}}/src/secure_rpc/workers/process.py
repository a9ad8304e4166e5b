"""One worker, as its supervisor sees it: started, given a place, asked, told to stop; and how it ended."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from secure_rpc.telemetry.aggregation import Snapshot  # takes its time, and the first worker need not wait for it

MAX_ANSWER_BYTES = 1 << 26  # of all numbers of a worker
PARTING_SECONDS = 1.0  # for what it said last to be read
CONTROL_OPTION = "--control"  # of the command `serve`, hidden: the file descriptor of the line to the supervisor

Plan: TypeAlias = dict[str, Any]  # see `control.plan_of`


class Worker:
    """A process that was started.

    Args:
        process: the process.
        reader: what it says.
        writer: what it is told.
    """

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._writer = writer
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        loop = asyncio.get_running_loop()
        self._planned: asyncio.Future[Plan] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._reading = asyncio.create_task(self._read(reader))
        self._ending = asyncio.create_task(self._wait())
        self.slot = -1  # none yet
        self.snapshot: Snapshot = []  # the last numbers that were seen
        self.ready_since = 0.0
        self.unanswered_since: float | None = None
        self.retired = False  # its end is wanted

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    @property
    def code(self) -> int:
        """Return how it ended: an exit code, or below 0 the number of a signal."""
        return self._process.returncode or 0

    @property
    def cause(self) -> str:
        """Return how it ended, in a word."""
        return signal.Signals(-self.code).name if self.code < 0 else f"exit_{self.code}"

    @property
    def has_ended(self) -> bool:
        """Tell whether it is gone."""
        return self._ending.done()

    @property
    def is_ready(self) -> bool:
        """Tell whether it has begun to take calls, and is not gone."""
        return self.ready_since > 0 and not self.has_ended

    @property
    def is_loaded(self) -> bool:
        """Tell whether it waits for its place."""
        return self._planned.done() and self.slot < 0 and not self.has_ended

    async def plan(self) -> Plan | None:
        """Return what its settings ask of the supervisor, None where it ended before it could say so."""
        await self._either(self._planned, None)
        return self._planned.result() if self._planned.done() else None

    def place(self, slot: int, address: str, admin_port: int, probe_port: int = 0) -> None:
        """Let it begin."""
        self.slot = slot
        self._send({"slot": slot, "address": address, "admin_port": admin_port, "probe_port": probe_port})

    def refuse(self, problems: Sequence[str]) -> None:
        """Let it end, and tell people why."""
        self._send({"refused": list(problems)})

    async def becomes_ready(self, within_seconds: float) -> bool:
        """Wait until it takes calls; tell whether it does. One that takes too long is killed."""
        await self._either(self._ready, within_seconds)
        if not self._ready.done():
            await self.kill()
        return self.is_ready

    async def ask(self, what: str, within_seconds: float) -> Any:
        """Return its answer, None where there was none in time."""
        self._asked += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._asked] = answer
        asked = time.monotonic()
        self._send({"id": self._asked, "ask": what})
        waits: set[asyncio.Future[Any]] = {answer, self._reading}
        await asyncio.wait(waits, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            self.unanswered_since = self.unanswered_since or asked
            return None
        if what == "metrics":
            self.snapshot = answer.result()
        return answer.result()

    def retire(self) -> None:
        """Tell it to finish what is under way, and end: another one has its place."""
        self.retired = True
        self._send({"ask": "stop"})

    def terminate(self) -> None:
        """Tell it to end as the service does: with a drain."""
        self.retired = True
        if self.slot < 0:
            self._writer.close()  # it waits for its place, and hears no signals yet
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()

    async def ended(self, within_seconds: float | None = None) -> bool:
        """Wait for its end; tell whether it came in time."""
        await asyncio.wait({self._ending}, timeout=within_seconds)
        return self.has_ended

    async def _either(self, told: asyncio.Future[Any], within_seconds: float | None) -> None:
        """Wait until something is told, or the process has ended."""
        waits: set[asyncio.Future[Any]] = {told, self._ending}
        await asyncio.wait(waits, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _wait(self) -> None:
        await self._process.wait()
        await asyncio.wait({self._reading}, timeout=PARTING_SECONDS)
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "plan" in message:
            self._planned.set_result(message["plan"])
        elif "ready" in message:
            self.ready_since = time.monotonic()
            self._ready.set_result(None)
        elif "parting" in message:
            self.snapshot = message["parting"]
        else:
            self.unanswered_since = None
            answer = self._answers.pop(message["id"])
            if not answer.done():
                answer.set_result(message["answer"])

    def _send(self, message: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")


async def start(command: Sequence[str]) -> Worker:
    """Start a worker.

    Args:
        command: the program and its arguments.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        process = await asyncio.create_subprocess_exec(*command, CONTROL_OPTION, str(fd), pass_fds=[fd])
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_ANSWER_BYTES)
    return Worker(process, reader, writer)
