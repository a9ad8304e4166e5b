"""What the supervisor tells of the workers: alive, ready, and the numbers of all of them as one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from secure_rpc.admin import Admin, Exposure
from secure_rpc.telemetry import aggregation
from secure_rpc.telemetry.aggregation import Snapshot
from secure_rpc.workers.process import Worker

ANSWER_SECONDS = 0.5  # for a worker to say whether it is ready; probes give us a second
NUMBERS_SECONDS = 2.0  # to say its numbers; those that it said last stand in for them
HUNG_SECONDS = 10.0  # without an answer
# How workers end; each is counted from 0 on: Prometheus sees no increase in what begins at 1
CAUSES = (
    "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGTERM", "exit_0", "exit_1", "exit_70", "exit_78",
)  # fmt: skip
OTHER = "other"


class Report:
    """Answer on the admin port.

    Args:
        workers: gives those that have a place.
        is_stopping: tells whether the service is about to end.
    """

    def __init__(self, workers: Callable[[], Sequence[Worker]], is_stopping: Callable[[], bool]) -> None:
        self._workers = workers
        self._is_stopping = is_stopping
        self._registry = CollectorRegistry()
        self._wanted = Gauge("secure_rpc_workers", "Worker processes that there should be.", registry=self._registry)
        self._ready = Gauge("secure_rpc_workers_ready", "Worker processes that take calls.", registry=self._registry)
        self._restarts = Counter(
            "secure_rpc_worker_restarts",
            "Worker processes that ended unasked and were started again, by how they ended.",
            ("cause",),
            registry=self._registry,
        )
        for cause in (*CAUSES, OTHER):
            self._restarts.labels(cause)
        self._gone: Snapshot = []

    def listen(self, exposure: Exposure, workers: int) -> tuple[int, int]:
        """Take the admin port and that of the probes, and return their numbers.

        Args:
            exposure: where, and to whom; port 0 takes any that is free.
            workers: how many there should be.

        Raises:
            ConfigurationError: an address cannot be had; a file for TLS is missing or no good.
        """
        self._wanted.set(workers)
        self._admin = Admin(exposure, self.scrape, self.unready_because, self.unhealthy_because)
        return self._admin.port, self._admin.probe_port

    async def start(self) -> None:
        """Begin to answer."""
        await self._admin.start()

    async def stop(self) -> None:
        """Answer no more."""
        await self._admin.stop()

    def count_restart(self, cause: str) -> None:
        """Count a worker that ended unasked."""
        self._restarts.labels(cause if cause in CAUSES else OTHER).inc()

    def keep_what_counts_of(self, worker: Worker) -> None:
        """Count on with what a worker had counted when it ended."""
        self._gone = aggregation.remaining(aggregation.merge([("", self._gone), ("", worker.snapshot)]))

    async def scrape(self) -> bytes:
        """Return the numbers of all workers as one, and the supervisor's own."""
        workers = list(self._workers())
        ready = [worker for worker in workers if worker.is_ready]
        await asyncio.gather(*(worker.ask("metrics", NUMBERS_SECONDS) for worker in ready))
        self._ready.set(len(ready))
        # those that have ended since are in `gone` now
        living = [(str(worker.slot), worker.snapshot) for worker in workers if worker in self._workers()]
        own = aggregation.snapshot(self._registry)
        return aggregation.render(aggregation.merge([("", self._gone), *living, ("", own)]))

    async def unready_because(self) -> list[str]:
        """Return why no calls should be sent here; one worker that is ready is enough."""
        if self._is_stopping():
            return ["shutting down"]
        workers = list(self._workers())
        found = await asyncio.gather(*map(_unready_because, workers))
        if any(not reasons for reasons in found):
            return []
        if len(workers) == 1:
            return list(found[0])
        named = [
            f"worker {worker.slot}: {reason}"
            for worker, reasons in zip(workers, found, strict=True)
            for reason in reasons
        ]
        return named or ["starting"]

    async def unhealthy_because(self) -> list[str]:
        """Return which workers run and do not answer: only a restart from outside ends that."""
        workers = [worker for worker in self._workers() if worker.is_ready]
        await asyncio.gather(*(worker.ask("status", ANSWER_SECONDS) for worker in workers))
        now = time.monotonic()
        return [
            f"worker {worker.slot} has not answered for {now - worker.unanswered_since:.0f} s"
            for worker in workers
            if worker.unanswered_since is not None and now - worker.unanswered_since >= HUNG_SECONDS
        ]


async def _unready_because(worker: Worker) -> list[str]:
    if not worker.is_ready:
        return ["starting"]
    reasons: list[str] | None = await worker.ask("status", ANSWER_SECONDS)
    return ["does not answer"] if reasons is None else reasons
