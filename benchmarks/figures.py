"""Medians of paired ratios, and how sure one can be of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median, and an interval that holds the true one."""

    median: float
    low: float
    high: float
    confidence: float  # less than asked for where there are too few values

    def __str__(self) -> str:
        """Return it for tables."""
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median with the narrowest interval of order statistics that is sure enough.

    It assumes nothing about how the values are spread: each is above the true median with a probability of one half.
    """
    ordered, count = sorted(values), len(values)
    trimmed = 0
    while 2 * (trimmed + 1) < count and _confidence(count, trimmed + 1) >= CONFIDENCE:
        trimmed += 1
    return Estimate(
        statistics.median(ordered), ordered[trimmed], ordered[count - 1 - trimmed], _confidence(count, trimmed)
    )


def ratios(over: Sequence[float], under: Sequence[float]) -> Estimate:
    """Return the median of the ratios of values that were measured one right after the other."""
    return estimate([one / other for one, other in zip(over, under, strict=True)])


def _confidence(count: int, trimmed: int) -> float:
    """Return the probability that the true median lies between the values left when each end is trimmed."""
    outside: float = 2 * sum(math.comb(count, below) for below in range(trimmed + 1)) / 2**count
    return max(0.0, 1 - outside)
