"""The supervisor: starts the workers, starts again what dies, replaces them one by one, answers on the admin port.

It never imports grpc, serves no calls and holds no secret, so little can end it. It cannot read the settings, which
import grpc: the first worker tells it what they say, and prints what is wrong with them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import structlog

from secure_rpc.admin import Exposure
from secure_rpc.configuration import ConfigurationError
from secure_rpc.telemetry import logging
from secure_rpc.workers import process
from secure_rpc.workers.port import ReservedPort
from secure_rpc.workers.process import Plan, Worker
from secure_rpc.workers.reporting import Report

START_SECONDS = 60.0  # for a worker to take calls; one that takes longer is killed
STABLE_SECONDS = 10.0  # a worker that lived longer did not die of the same thing as the one before it
MAX_PAUSE_SECONDS = 1.0  # before a worker that took calls is started again: most of it is the start itself
MAX_START_PAUSE_SECONDS = 30.0  # before one that could not start is tried again
FIRST_PAUSE_SECONDS = 0.1
ENDED_BY_SIGNAL = 128  # exit codes above it, as shells have them

log = structlog.get_logger(__name__)


class Supervisor:
    """Keep the workers of a service running.

    Args:
        command: starts one of them.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._stopping = asyncio.Event()
        self._roll_asked = asyncio.Event()
        self._processes: set[Worker] = set()  # all that were started and are not gone
        self._workers: list[Worker] = []  # those of them that have a place
        self._standby: Worker | None = None
        self._standby_begun = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaths_in_a_row = 0
        self._last_death = 0.0
        self._report = Report(lambda: self._workers, self._stopping.is_set)

    async def run(self, first: Worker) -> int:
        """Supervise until SIGTERM or SIGINT, and return the exit code.

        Args:
            first: a worker that was started; where it ends before it takes calls, its exit code is that of the service.
        """
        self._processes.add(first)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._begin_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hear_hangup, has_terminal())
        plan = await first.plan()
        if plan is None:
            return self._code_of(first)
        self._plan: Plan = plan
        logging.configure(logging.LogFormat(plan["log_format"]), plan["log_level"], plan["log_fields"])
        with ExitStack() as stack:
            try:
                self._port = stack.enter_context(ReservedPort(plan["address"]))
                self._admin_ports = self._report.listen(Exposure.of(plan["exposure"]), plan["workers"])
            except ConfigurationError as error:
                first.refuse(error.problems)
                await first.ended()
                return self._code_of(first)
            await self._report.start()
            try:
                return await self._supervise(first)
            finally:
                await self._report.stop()

    async def _supervise(self, first: Worker) -> int:
        self._give_place(first)
        if not await first.becomes_ready(START_SECONDS):
            self._begin_to_stop()
            return await self._end(first)
        self._watch(first)
        for _ in range(self._plan["workers"] - 1):
            self._in_background(self._replace())
        self._in_background(self._keep_standby())
        await self._obey()
        return await self._end()

    async def _obey(self) -> None:
        """Do what signals ask until one of them asks to stop."""
        while not self._stopping.is_set():
            waits = {asyncio.ensure_future(event.wait()) for event in (self._stopping, self._roll_asked)}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._roll_asked.is_set() and not self._stopping.is_set():
                self._roll_asked.clear()
                await self._roll()

    def _hear_hangup(self, had_terminal: bool) -> None:  # noqa: FBT001  # handed on by the event loop
        """Roll, unless the signal means what it says: the terminal that this was started from is gone."""
        if had_terminal and not has_terminal():
            self._begin_to_stop()
        else:
            self._roll_asked.set()

    def _begin_to_stop(self) -> None:
        self._stopping.set()
        for worker in self._processes:
            worker.terminate()

    # --- one worker -----------------------------------------------------------------------------------------------

    def _give_place(self, worker: Worker) -> None:
        taken = {each.slot for each in self._workers}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        self._workers.append(worker)
        worker.place(slot, self._port.address, *self._admin_ports)

    async def _started(self) -> Worker:
        worker = await process.start(self._command)
        self._processes.add(worker)
        if self._stopping.is_set():
            worker.terminate()
        return worker

    async def _begun(self) -> Worker:
        """Return a worker that has its place, ready or not: the one that stands by, or a new one."""
        worker, self._standby = self._standby, None
        if worker is None or worker.has_ended:
            worker = await self._started()
        await worker.plan()
        if not worker.has_ended and not self._stopping.is_set():
            self._give_place(worker)
            await worker.becomes_ready(START_SECONDS)
        return worker

    async def _replace(self) -> None:
        """Start workers until one takes calls."""
        failures = 0
        while not self._stopping.is_set():
            worker = await self._begun()
            if worker.is_ready:
                self._watch(worker)
                self._in_background(self._keep_standby())
                return
            self._let_go(worker)
            if self._stopping.is_set():
                break
            failures += 1
            pause = pause_seconds(failures, MAX_START_PAUSE_SECONDS)
            self._report.count_restart(worker.cause)
            log.error("a worker did not start", cause=worker.cause, pid=worker.pid, again_in_seconds=pause)
            await self._pause(pause)

    def _watch(self, worker: Worker) -> None:
        self._in_background(self._restart_at_end(worker))

    async def _restart_at_end(self, worker: Worker) -> None:
        await worker.ended()
        self._let_go(worker)
        if worker.retired or self._stopping.is_set():
            return
        now = time.monotonic()
        self._deaths_in_a_row = self._deaths_in_a_row + 1 if now - self._last_death < STABLE_SECONDS else 0
        self._last_death = now
        pause = pause_seconds(self._deaths_in_a_row, MAX_PAUSE_SECONDS)
        self._report.count_restart(worker.cause)
        log.error(
            "a worker has died and is replaced",
            cause=worker.cause,
            pid=worker.pid,
            worker=worker.slot,
            lived_seconds=round(now - worker.ready_since, 3),
            in_seconds=pause,
        )
        await self._pause(pause)
        await self._replace()

    def _let_go(self, worker: Worker) -> None:
        self._processes.discard(worker)
        if worker in self._workers:
            self._workers.remove(worker)
            self._report.keep_what_counts_of(worker)

    async def _keep_standby(self) -> None:
        """Have a process ready that takes the place of a dead worker at once."""
        if not self._plan["standby"] or self._standby is not None or self._standby_begun or self._stopping.is_set():
            return
        self._standby_begun = True
        standby = self._standby = await self._started()
        self._standby_begun = False
        await standby.plan()
        if standby.has_ended:
            self._let_go(standby)
            self._standby = None if self._standby is standby else self._standby
            if not standby.retired:
                log.error("a worker that was to stand by did not start", cause=standby.cause, pid=standby.pid)

    # --- all of them ----------------------------------------------------------------------------------------------

    async def _roll(self) -> None:
        """Replace the workers one by one: the old one ends when the new one takes calls."""
        log.info("rolling", workers=len(self._workers))
        if self._standby is not None:  # it has read the settings as they were
            self._standby.terminate()
            self._standby = None
        for old in [worker for worker in self._workers if worker.is_ready]:
            new = await self._begun()
            if not new.is_ready:
                self._let_go(new)
                if not self._stopping.is_set():
                    log.error("the roll is given up: a new worker did not start", cause=new.cause, pid=new.pid)
                break
            self._watch(new)
            old.retire()
            if not await old.ended(self._plan["stop_seconds"]):
                await old.kill()
        else:
            log.info("rolled", workers=len(self._workers))
        self._in_background(self._keep_standby())

    async def _end(self, failed: Worker | None = None) -> int:
        """Wait until all workers have ended, kill those that do not, and return the exit code of the service."""
        leaving = list(self._processes)
        in_time = await asyncio.gather(*(worker.ended(self._plan["stop_seconds"]) for worker in leaving))
        for worker, ended in zip(leaving, in_time, strict=True):
            if not ended:
                log.error("a worker did not end in time and is killed", pid=worker.pid, worker=worker.slot)
                await worker.kill()
        while self._tasks:
            await asyncio.wait(self._tasks)
        return next(
            (code for worker in [*([failed] if failed else []), *leaving] if (code := self._code_of(worker))), 0
        )

    # --- small things ---------------------------------------------------------------------------------------------

    def _code_of(self, worker: Worker) -> int:
        """Return the exit code that a worker's end makes the service's."""
        if worker.code == -signal.SIGTERM and self._stopping.is_set():  # it came before the worker could listen to it
            return 0
        return worker.code if worker.code >= 0 else ENDED_BY_SIGNAL - worker.code

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def has_terminal() -> bool:
    """Tell whether there is a terminal that controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def pause_seconds(times: int, most: float) -> float:
    """Return how long to wait in seconds: none at first, then twice as long each time."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(times - 1, 100), most) if times else 0.0
