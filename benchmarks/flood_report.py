"""What was measured of a flood, in tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.figures import ratios
from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_RATIO = 2.0  # of the good callers' p99, with the flood to without


def calls(results: Mapping[str, Any]) -> Figures:
    """Return what good callers feel of it."""
    rows = []
    for name, key in (("p50", "p50_ms"), ("p99", "p99_ms")):
        without, beside = ([each[when][key] for each in results["rounds"]] for when in ("without", "with"))
        ratio = ratios(beside, without)
        target = (f"<= {MOST_RATIO:g}", verdict(ratio.median <= MOST_RATIO)) if name == "p99" else ("", "")
        rows.append(
            (name, f"{statistics.median(without):.1f}", f"{statistics.median(beside):.1f}", str(ratio), *target)
        )
    return Figures(("good calls, ms", "without", "with", "ratio", "target", ""), rows)


def outcome(results: Mapping[str, Any]) -> Figures:
    """Return what became of the flood's own calls, and where the limit went."""
    floods, seconds = [each["flood"] for each in results["rounds"]], results["flood_seconds"]
    rows = [
        (f"{what} a second", f"{statistics.median(flood[what] for flood in floods) / seconds:,.0f}")
        for what in ("served", "refused", "reset")
    ]
    rows.append(
        ("fair limit of calls at once", f"{statistics.median(each['limit'] for each in results['rounds']):,.0f}")
    )
    rows += [(f"refused, {reason}", f"{count:,.0f}") for reason, count in sorted(results["refused"].items())]
    return Figures(("the flood", ""), rows)


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return all tables by what a page may call them."""
    return {"flood": calls(results), "flood_outcome": outcome(results)}
