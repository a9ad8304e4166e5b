"""What calls feel of it when a big policy is taken up: how long the loop stands still, and how long it takes.

A task that wants to run each millisecond tells how long it had to wait. Beside the way of the service, the same policy
is read on the loop itself and on a thread, and for comparison nothing is read at all.
"""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import secure_rpc.cli.main  # noqa: F401  # a server's memory: what a full collection walks over
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import parse
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.loading import PolicyText, load_beside

from benchmarks.policies import KNOWN, MadePolicy, asking, caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SIZE = 10_000
TICK_SECONDS = 0.001
BEFORE_SECONDS, AFTER_SECONDS = 0.1, 0.5  # what is put off is felt too
NOTHING_SECONDS = 2.0
BESIDE, LOOP, THREAD, NOTHING = "in a process of its own", "on the loop", "on a thread", "nothing"

Stalls = list[tuple[float, float]]  # milliseconds from tick to tick, and those that the loop itself worked


class Reload:
    """One policy in place of another, back and forth.

    Args:
        size: how many bindings they have.
    """

    def __init__(self, size: int = SIZE) -> None:
        """Make the policies, and let one of them decide."""
        made = MadePolicy.of(size)
        self._texts = [
            PolicyText(Path("policy.yaml"), each.text())
            for each in (made, MadePolicy(made.roles, (*made.bindings, ("newcomer", "role-0"))))
        ]
        self._newcomer, self._method = caller("newcomer"), asking(made.roles["role-0"][0])
        self.active = ActivePolicy(self._here(self._texts[0]))

    async def take_up(self, read: Callable[[PolicyText, PolicyText], Awaitable[Engine]]) -> None:
        """Read the other one and let it decide.

        Raises:
            AssertionError: it does not decide afterwards.
        """
        before = self.active.decide(self._newcomer, self._method).allowed
        engine = await read(self._texts[not before], self._texts[before])
        self.active.swap(engine)
        if self.active.decide(self._newcomer, self._method).allowed is before:
            raise AssertionError("the new policy does not decide")

    @staticmethod
    def _here(text: PolicyText) -> Engine:
        document = parse(*text)
        document.check(KNOWN)
        return Engine.of(document)

    async def beside(self, text: PolicyText, before: PolicyText) -> Engine:
        """Read as the service does."""
        return (await load_beside(text, KNOWN, Conditions(), before))[0]

    async def on_loop(self, text: PolicyText, _before: PolicyText) -> Engine:
        """Read between two calls."""
        return self._here(text)

    async def on_thread(self, text: PolicyText, _before: PolicyText) -> Engine:
        """Read on a thread."""
        return await asyncio.to_thread(self._here, text)


async def measure(rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return for each way, and each round: the longest stall, the longest work at a stretch, and the time taken."""
    reload = Reload()
    ways: dict[str, Callable[[], Awaitable[None]]] = {
        NOTHING: lambda: asyncio.sleep(NOTHING_SECONDS),
        BESIDE: lambda: reload.take_up(reload.beside),
        THREAD: lambda: reload.take_up(reload.on_thread),
        LOOP: lambda: reload.take_up(reload.on_loop),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    gc.collect()
    gc.freeze()  # as a server does before it serves
    for _ in range(rounds):
        for name, work in ways.items():
            gc.collect()  # what the way before has left
            found[name].append(await _felt(work))
    gc.unfreeze()
    return found


async def _felt(work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    stalls: Stalls = []
    ticking = asyncio.create_task(_tick(stalls))
    await asyncio.sleep(BEFORE_SECONDS)
    started = time.perf_counter()
    await work()
    seconds = time.perf_counter() - started
    await asyncio.sleep(AFTER_SECONDS)
    ticking.cancel()
    waits, works = zip(*stalls, strict=True)
    return {"stall_ms": max(waits) - TICK_SECONDS * 1e3, "work_ms": max(works), "seconds": seconds}


async def _tick(stalls: Stalls) -> None:
    wall, worked = time.perf_counter_ns(), time.thread_time_ns()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        wall_before, worked_before = wall, worked
        wall, worked = time.perf_counter_ns(), time.thread_time_ns()
        stalls.append(((wall - wall_before) / 1e6, (worked - worked_before) / 1e6))
