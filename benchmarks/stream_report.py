"""What was measured of many live streams, in a table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SECONDS, MOST_STALL_MS = 1.0, 20.0


def streams(results: Mapping[str, Any]) -> Figures:
    """Return how long it takes to judge all of them again, and what else runs feels of it."""
    rows = []
    for name, rounds in results["judged"].items():
        seconds, stall, work = (
            [each[key] for each in rounds] for key in ("seconds", "stall_ms", "work_ms")
        )  # fmt: skip
        judged = name != "nothing"
        met = max(seconds) < MOST_SECONDS and max(work) < MOST_STALL_MS
        rows.append(
            (
                name,
                f"{statistics.median(seconds) * 1e3:.0f}" if judged else "-",
                f"{statistics.median(work):.1f}, at most {max(work):.1f}",
                f"{statistics.median(stall):.1f}, at most {max(stall):.1f}",
                verdict(met) if judged else "",
            )
        )
    count, kilobytes = results["streams"], results["bytes_of_each"] / 1000
    return Figures(
        (
            f"{count:,} live streams, {kilobytes:.0f} kB each",
            "ms in all",
            "loop's own work at a stretch, ms",
            "stall, ms",
            f"< {MOST_SECONDS:g} s, < {MOST_STALL_MS:g} ms",
        ),
        rows,
    )
