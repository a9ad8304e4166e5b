"""What is to be done at a time of its own, for many at once: one timer for all of them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

AT_ONCE = 100  # between two of these, other work gets its turn
LONGEST_WAIT_SECONDS = 30.0  # then the clock is looked at again: it may have been set
SPARE = 64  # entries that are out of date, in a heap that is not swept for them


class Agenda(Generic[T]):
    """Hand items on when their time has come.

    Args:
        on_due: is given some of those whose time has come, earliest first.
        clock: gives Unix time in seconds.
    """

    def __init__(self, on_due: Callable[[Sequence[T]], None], clock: Callable[[], float] = time.time) -> None:
        self._on_due = on_due
        self._clock = clock
        self._at: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []  # may hold what is not so any more
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at_seconds = float("inf")

    def put(self, item: T, at_seconds: float) -> None:
        """Have an item handed on at a Unix time, and not when it would have been before."""
        self._at[item] = at_seconds
        heapq.heappush(self._heap, (at_seconds, next(self._numbers), item))
        self._sweep()
        if at_seconds < self._fires_at_seconds:
            self._arm()

    def drop(self, item: T) -> None:
        """Forget an item."""
        if self._at.pop(item, None) is not None:
            self._sweep()

    def run(self) -> None:
        """Hand on some of what is due; the rest follows when others have had their turn."""
        now, due = self._clock(), list[T]()
        while self._heap and len(due) < AT_ONCE:
            at_seconds, _, item = self._heap[0]
            if self._at.get(item) != at_seconds:
                heapq.heappop(self._heap)
            elif at_seconds <= now:
                heapq.heappop(self._heap)
                del self._at[item]
                due.append(item)
            else:
                break
        self._arm()
        if due:
            self._on_due(due)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._at)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._fires_at_seconds = None, float("inf")
        if self._heap:
            self._fires_at_seconds = self._heap[0][0]
            wait_seconds = min(max(self._fires_at_seconds - self._clock(), 0.0), LONGEST_WAIT_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(wait_seconds, self.run)

    def _sweep(self) -> None:
        """Throw out what is out of date once it is the larger part."""
        if len(self._heap) > 2 * len(self._at) + SPARE:
            self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
