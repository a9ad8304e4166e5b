"""A worker's end of the line to its supervisor: it says what it is to be, is given its place, and answers questions.

One JSON object a line, over a pair of sockets that nobody else can reach. When the line ends, the supervisor is gone,
and the worker stops in order: nobody would start it again, or tell anyone how it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from secure_rpc.admin.access import exposure_of
from secure_rpc.configuration import ConfigurationError
from secure_rpc.settings import Settings
from secure_rpc.telemetry import aggregation
from secure_rpc.telemetry.metrics import Metrics

SETTLE_SECONDS = 5.0  # beyond drain and grace, for a worker to end


class Control:
    """The line to the supervisor.

    Args:
        fd: its file descriptor, inherited.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # sent to all processes at once, it is for the supervisor
        self._writer: asyncio.StreamWriter | None = None
        self._answering: asyncio.Task[None] | None = None
        self.port = self.probe_port = 0  # of the supervisor, which answers for all workers
        self.slot = 0

    def place(self, settings: Settings) -> Settings:
        """Tell the supervisor what the settings ask of it, wait to be needed, and return the settings of this worker.

        Raises:
            ConfigurationError: an address cannot be had.
            SystemExit: the supervisor needs this process no more.
        """
        with self._socket.makefile("rwb") as stream:
            stream.write(_line({"plan": plan_of(settings)}))
            stream.flush()
            answer = stream.readline()
        if not answer:
            sys.exit(0)
        told: dict[str, Any] = json.loads(answer)
        if "refused" in told:
            raise ConfigurationError(*told["refused"])
        self.port, self.probe_port, self.slot = told["admin_port"], told["probe_port"], told["slot"]
        audit = settings.audit.model_copy(update={"file": audit_file(settings.audit.file, self.slot)})
        listen = settings.listen.model_copy(update={"address": told["address"]})
        return settings.model_copy(update={"listen": listen, "audit": audit})

    def attach(self, metrics: Metrics, unready_because: Callable[[], list[str]], stop: Callable[[], None]) -> None:
        """Say who answers.

        Args:
            metrics: what is scraped.
            unready_because: gives the reasons for which no calls should be sent here.
            stop: is called when the worker is to end, without a drain: others have taken its place.
        """
        self._metrics, self._unready_because, self._stop = metrics, unready_because, stop

    async def start(self) -> None:
        """Say that calls are taken, and begin to answer."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
        self._send({"ready": os.getpid()})
        self._answering = asyncio.create_task(self._answer(reader))

    async def stop(self) -> None:
        """Hand over the numbers as they are at the end, and answer no more."""
        if self._answering is not None and self._writer is not None:
            self._answering.cancel()
            await asyncio.wait({self._answering})
            self._send({"parting": self._snapshot()})
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                asked = json.loads(line)
                if asked["ask"] == "stop":
                    break
                answer: Any = self._snapshot() if asked["ask"] == "metrics" else self._unready_because()
                self._send({"id": asked["id"], "answer": answer})
        self._stop()

    def _snapshot(self) -> aggregation.Snapshot:
        self._metrics.refresh()
        return aggregation.snapshot(self._metrics.registry)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_line(message))


def plan_of(settings: Settings) -> dict[str, Any]:
    """Return what a supervisor has to know of the settings, which it cannot read: they import grpc."""
    return {
        "workers": settings.workers,
        "standby": settings.standby_worker,
        "address": settings.listen.address,
        "exposure": exposure_of(settings).as_dict(),
        "stop_seconds": settings.shutdown.drain_seconds + settings.shutdown.grace_seconds + SETTLE_SECONDS,
        "log_format": settings.logging.format.value,
        "log_level": settings.logging.level,
        "log_fields": settings.service.log_fields,
    }


def audit_file(file: Path, slot: int) -> Path:
    """Return the audit log of a worker: each has a chain of its own. Slot 0 has the file that the settings name."""
    return file.with_name(f"{file.stem}.{slot}{file.suffix}") if slot else file


def audit_files(settings: Settings) -> list[Path]:
    """Return the audit logs that there must be, and those that there are beside them.

    A worker that replaces another in order writes to a file of its own while that one ends: there may be one more than
    there are workers.
    """
    file = settings.audit.file
    expected = [audit_file(file, slot) for slot in range(settings.workers)]
    others = [audit_file(file, slot) for slot in _slots_beside(file)]
    return list(dict.fromkeys([*expected, *others]))


def _slots_beside(file: Path) -> list[int]:
    numbers = []
    for found in file.parent.glob(f"{_escaped(file.stem)}.*{_escaped(file.suffix)}"):
        middle = found.name.removeprefix(f"{file.stem}.").removesuffix(file.suffix)
        if middle.isdecimal() and audit_file(file, int(middle)) == found:
            numbers.append(int(middle))
    return sorted(numbers)


def _escaped(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
