"""Calls by a schedule that waits for none of them: what is late counts as late, from when it was due."""

from __future__ import annotations

import asyncio
import resource
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from secure_rpc.configuration import ConfigurationError
from secure_rpc.loading import calling
from secure_rpc.loading.callers import Proofs
from secure_rpc.loading.calling import Streaming
from secure_rpc.loading.mix import ALLOWED, ANSWERED, Act, turns
from secure_rpc.loading.tally import Tally, latency_figures
from secure_rpc.loading.usage import Usage


@dataclass(frozen=True, slots=True)
class Schedule:
    """When calls are due."""

    rate: float  # a second
    seconds: float  # that are measured
    warm_up_seconds: float = 2.0  # before them, at the same rate
    most_in_flight: int = 1000  # a call that would be one more is not made, and counted as that


@dataclass(slots=True)
class Course:
    """What was driven, and what came of it."""

    acts: Sequence[Act]
    tallies: dict[Act, Tally]
    seconds: float = 0.0
    due: int = 0
    not_made: int = 0
    late_seconds: array[float] = field(default_factory=lambda: array("d"))  # from when calls were due to their start
    client_share: float = 0.0  # of one core
    server: dict[str, float] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """Return how many were made."""
        return sum(tally.calls for tally in self.tallies.values())

    def refused(self) -> dict[str, int]:
        """Return what was refused, by status and reason; most often first."""
        found: dict[str, int] = {}
        for tally in self.tallies.values():
            for told, count in tally.ended.items():
                if told.split()[0] not in ANSWERED:
                    found[told] = found.get(told, 0) + count
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def let_in(self) -> dict[str, int]:
        """Return the calls that should have been refused, and were not, by name."""
        found = {
            act.name: sum(count for told, count in tally.ended.items() if told.split()[0] in ANSWERED)
            for act, tally in self.tallies.items()
            if act.caller != ALLOWED
        }
        return {name: count for name, count in found.items() if count}

    def figures(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "seconds": self.seconds,
            "due": self.due,
            "calls": self.calls,
            "not_made": self.not_made,
            "calls_per_second": self.calls / self.seconds,
            "started_late": latency_figures(self.late_seconds),
            "client_share": self.client_share,
            "acts": {
                act.name: {"path": act.path, "kind": act.kind, "caller": act.caller, **tally.figures()}
                for act, tally in self.tallies.items()
            },
            "refused": self.refused(),
            "let_in": self.let_in(),
            "server": self.server,
        }


async def look(channel: grpc.aio.Channel, acts: Sequence[Act], proofs: Proofs, streaming: Streaming) -> None:
    """Make each sort of call once, before many are made.

    Raises:
        ConfigurationError: one ends otherwise than it should.
    """
    for act in acts:
        told = (await calling.make(channel, act, proofs.of(act), streaming)).ended
        answered = told.split()[0] in ANSWERED
        if told.startswith("UNAVAILABLE"):
            raise ConfigurationError(f"the service is not reached: {told}")
        if act.caller == ALLOWED and not answered:
            raise ConfigurationError(f"{act.name} is answered {told}; see --samples, --mix and --as")
        if act.caller != ALLOWED and answered:
            raise ConfigurationError(f"{act.name} is answered {told}, and should be refused")


async def drive(  # each is a choice of its own
    channels: Sequence[grpc.aio.Channel],
    acts: Sequence[Act],
    proofs: Proofs,
    schedule: Schedule,
    streaming: Streaming,
    usage: Usage,
) -> Course:
    """Make calls at a rate for a time, first unmeasured, then measured.

    Args:
        channels: taken in turn.
        acts: what is called; each as often as its share.
        proofs: what calls show.
        schedule: when.
        streaming: how far streams go.
        usage: of the server.

    Returns:
        what came of it, after the last of the calls has ended.
    """
    warming = int(schedule.rate * schedule.warm_up_seconds)
    total = max(1, int(schedule.rate * schedule.seconds))
    course = Course(acts, {act: Tally() for act in acts}, due=total)
    under_way: set[asyncio.Task[None]] = set()
    order = turns(acts)

    async def count(number: int, act: Act, due: float) -> None:
        told = await calling.make(channels[number % len(channels)], act, proofs.of(act), streaming)
        if number >= warming:
            course.tallies[act].add(told.ended, None if told.heard is None else told.heard - due, told.messages)

    async def pace(numbers: range, started: float) -> None:
        for number in numbers:
            due, act = started + (number - numbers.start) / schedule.rate, next(order)
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            elif number % 64 == 0:
                await asyncio.sleep(0)  # late, but answers have to be read, too
            if len(under_way) >= schedule.most_in_flight:
                course.not_made += number >= warming
                continue
            if number >= warming:
                course.late_seconds.append(time.perf_counter() - due)
            task = asyncio.create_task(count(number, act, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    try:
        await pace(range(warming), time.perf_counter())
        await usage.begin()
        cpu, started = _cpu_seconds(), time.perf_counter()
        await pace(range(warming, warming + total), started)
        course.seconds = max(time.perf_counter() - started, total / schedule.rate)
        course.client_share = (_cpu_seconds() - cpu) / course.seconds
        course.server = await usage.end()
    finally:
        await asyncio.gather(*under_way)
    return course


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
