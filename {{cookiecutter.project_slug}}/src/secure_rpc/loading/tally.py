"""What calls went through, counted and timed, by method and by how they should end."""

from __future__ import annotations

import statistics
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = (50, 90, 99)


@dataclass(slots=True)
class Tally:
    """The calls of one sort."""

    latencies_seconds: array[float] = field(default_factory=lambda: array("d"))
    ended: Counter[str] = field(default_factory=Counter)  # by status, and reason where it is a refusal
    messages: int = 0  # answers of streams

    def add(self, told: str, seconds: float | None, messages: int) -> None:
        """Count a call; one of whose answer nothing was seen has no latency."""
        self.ended[told] += 1
        self.messages += messages
        if seconds is not None:
            self.latencies_seconds.append(seconds)

    @property
    def calls(self) -> int:
        """Return how many have ended, or were ended by us."""
        return self.ended.total()

    def figures(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "calls": self.calls,
            "messages": self.messages,
            "ended": dict(self.ended.most_common()),
            **latency_figures(self.latencies_seconds),
        }


def latency_figures(seconds: array[float]) -> dict[str, float | None]:
    """Return percentiles and the longest, in milliseconds; None where nothing was timed."""
    if not seconds:
        return {**{f"p{percent}_ms": None for percent in PERCENTILES}, "max_ms": None}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    return {**{f"p{percent}_ms": 1000 * cuts[percent - 1] for percent in PERCENTILES}, "max_ms": 1000 * max(seconds)}
