"""The limit of calls at once, lowered while work waits in the event loop, and how that wait is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SAMPLES = 5  # that decide together
MOST = SAMPLES - 2
MOST_AT_ONCE = 0.5  # the limit loses no more than this share of itself by one decision
LEAST_AT_ONCE = 0.95
GROWTH = 0.05  # of itself, by one decision


class AdaptiveLimit:
    """A limit that follows how long work waits.

    The least of several waits counts, as in CoDel (RFC 8289): one long step delays one of them, a queue that stands
    delays all. In a loop with a standing queue the wait grows with the calls under way, so `target / wait` is about
    where the limit should be; it goes there in steps, and up again slowly, by a share of itself.

    Args:
        floor: it is lowered no further.
        ceiling: where it begins.
        target_seconds: the wait above which it is lowered.
        counts: which of the waits decides: 0 for the least, `MOST` for all but the greatest, where most of the waits
            have to be short.
    """

    def __init__(self, floor: int, ceiling: int, target_seconds: float, counts: int = 0) -> None:
        self._floor = min(floor, ceiling)
        self._ceiling = ceiling
        self._target_seconds = target_seconds
        self._counts = counts
        self._exact = float(ceiling)
        self._waits: list[float] = []
        self._most_under_way = 0
        self.calls = ceiling
        self.lag_seconds = 0.0  # by which the last decision was made

    def saw(self, wait_seconds: float, under_way: int) -> None:
        """Take in a measurement.

        Args:
            wait_seconds: how long work has waited for its turn.
            under_way: calls that may have made it wait.
        """
        self._waits.append(wait_seconds)
        self._most_under_way = max(self._most_under_way, under_way)
        if len(self._waits) < SAMPLES:
            return
        self.lag_seconds = sorted(self._waits)[self._counts]
        if self.lag_seconds > self._target_seconds:
            used = min(self._exact, self._most_under_way)  # what is above was never tried
            factor = self._target_seconds / self.lag_seconds
            self._exact = max(used * min(max(factor, MOST_AT_ONCE), LEAST_AT_ONCE), self._floor)
        else:
            self._exact = min(self._exact + max(1.0, GROWTH * self._exact), self._ceiling)
        self.calls = int(self._exact)
        self._waits.clear()
        self._most_under_way = 0


class LagProbe:
    """Measure how long work waits for its turn in the event loop.

    Args:
        interval_seconds: between two measurements.
        on_lag: given each, in seconds.
        clock: gives seconds that only grow.
    """

    def __init__(
        self,
        interval_seconds: float,
        on_lag: Callable[[float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._on_lag = on_lag
        self._clock = clock

    async def keep(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due: asyncio.Future[float] = loop.create_future()
            timer = loop.call_later(self._interval_seconds, self._tell, due)
            try:
                began = await due  # which goes on after all that was ready when the timer was due
            finally:
                timer.cancel()
            self._on_lag(self._clock() - began)

    def _tell(self, due: asyncio.Future[float]) -> None:
        if not due.done():
            due.set_result(self._clock())
