"""Numbers as Grafana shows them, by the names of its units."""

from __future__ import annotations

import math
from bisect import bisect_right

from matplotlib.ticker import Locator, MaxNLocator, MultipleLocator

INK, MUTED = "#24292f", "#656d76"
NAMES = {"s": "time", "percentunit": "%", "reqps": "calls/s", "short": "count", "bytes": "bytes"}
TIMES = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "days"))
MEMORY = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))


class Unit:
    """One of them.

    Args:
        code: Grafana's name of it.

    """

    def __init__(self, code: str) -> None:
        self._code = code
        self.name = NAMES[code]

    def locator(self, limits: tuple[float, float]) -> Locator:
        """Return what finds round numbers between two limits."""
        low, high = limits
        if self._code == "bytes":
            return MultipleLocator(2.0 ** math.ceil(math.log2((high - low) / 4)))
        is_long = self._code == "s" and high > 60
        return MaxNLocator(4, steps=[1, 3, 6, 10] if is_long else [1, 2, 2.5, 5, 10])

    def shown(self, value: float) -> str:
        """Return a number with its unit."""
        if self._code == "percentunit":
            return f"{_short(value * 100)} %"
        if self._code in {"s", "bytes"}:
            if not value:
                return f"0 {'s' if self._code == 's' else 'B'}"
            scale = TIMES if self._code == "s" else MEMORY
            factor, name = scale[max(bisect_right(scale, abs(value), key=lambda step: step[0]) - 1, 0)]
            return f"{_short(value / factor)} {name}"
        return _short(value)


def _short(value: float) -> str:
    """Return a number with as many digits as tell something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
