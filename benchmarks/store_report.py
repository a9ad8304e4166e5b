"""What was measured of a store that is away, in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BEYOND_MS = 50.0  # of the longest wait, beyond the timeout of the store
KINDS = {"nonce": "needs the store", "quota": "may do without"}


def waits(results: Mapping[str, Any]) -> Figures:
    """Return how long calls waited in each state of the store, and what became of them."""
    most = results["timeout_ms"] + MOST_BEYOND_MS
    header = ("the store ...", "a call that ...", "p50, ms", "longest, ms", "ended", f"<= {most:g} ms")
    rows = []
    for state, kinds in results["rows"].items():
        for kind, found in kinds.items():
            codes = ", ".join(f"{count} {code}" for code, count in found["codes"].items())
            rows.append(
                (
                    state,
                    KINDS[kind],
                    f"{found['p50_ms']:.1f}",
                    f"{found['max_ms']:.1f}",
                    codes,
                    verdict(found["max_ms"] <= most),
                )
            )
    return Figures(header, rows)
