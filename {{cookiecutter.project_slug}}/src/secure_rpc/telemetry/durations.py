"""How long things took, counted at a tenth of what the library takes for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import Histogram, Metric


class Durations:
    """A series of the histogram; what is counted is brought into it when it is read, at a tenth of the cost.

    Args:
        series: the histogram's.
    """

    __slots__ = ("_bounds", "_counts", "_seconds", "_series")

    def __init__(self, series: Histogram) -> None:
        self._series = series
        self._bounds = series._upper_bounds  # noqa: SLF001  # the library takes one at a time, at the price of each
        self._counts = [0] * len(self._bounds)
        self._seconds = 0.0

    def add(self, seconds: float, trace_id: str = "") -> None:
        """Count one; where a trace was kept of it, that is the exemplar of all that took as long."""
        if trace_id:
            self._series.observe(seconds, {"trace_id": trace_id})
            return
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def refresh(self) -> None:
        """Bring what was counted into the series."""
        self._series._sum.inc(self._seconds)  # noqa: SLF001  # as above
        self._seconds = 0.0
        for number, count in enumerate(self._counts):
            if count:
                self._series._buckets[number].inc(count)  # noqa: SLF001
                self._counts[number] = 0


class DurationHistogram(Histogram):
    """A histogram; what was counted beside it is brought into it whenever it is read."""

    _beside: tuple[Durations, ...] = ()

    def counted(self, *labels: str) -> Durations:
        """Return what counts for the series of these labels; each is asked for once."""
        durations = Durations(self.labels(*labels))
        self._beside = (*self._beside, durations)
        return durations

    def collect(self) -> Iterable[Metric]:
        """Return all that was counted, for the registry."""
        for durations in self._beside:
            durations.refresh()
        return super().collect()
