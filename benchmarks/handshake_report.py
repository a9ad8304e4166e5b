"""What was measured of failing handshakes, in tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.figures import ratios
from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_RATIO = 2.0  # of the good callers' p99, with failing handshakes to without


def handshakes(results: Mapping[str, Any]) -> Figures:
    """Return what good callers feel of handshakes that fail."""
    rows = []
    for name, key in (("p50", "p50_ms"), ("p99", "p99_ms")):
        without, beside = ([each[when][key] for each in results["rounds"]] for when in ("without", "with"))
        ratio = ratios(beside, without)
        target = (f"<= {MOST_RATIO:g}", verdict(ratio.median <= MOST_RATIO)) if name == "p99" else ("", "")
        rows.append(
            (name, f"{statistics.median(without):.1f}", f"{statistics.median(beside):.1f}", str(ratio), *target)
        )
    return Figures(("good calls, ms", "without", "with", "ratio", "target", ""), rows)


def failures(results: Mapping[str, Any]) -> Figures:
    """Return which handshakes failed, and which of them the server has counted."""
    sent, counted = results["sent"], results["counted"]
    rows = [
        (reason, f"{sent.get(reason, 0):,}", f"{counted.get(reason, 0):,}", "exactly",
         verdict(sent.get(reason, 0) == counted.get(reason, 0)))
        for reason in dict.fromkeys([*sent, *counted])
    ]  # fmt: skip
    return Figures(("failed handshakes", "made", "counted", "target", ""), rows)


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return all tables by what the page calls them."""
    return {"handshakes": handshakes(results), "handshake_failures": failures(results)}
