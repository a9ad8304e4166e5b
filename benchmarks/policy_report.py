"""What was measured of decisions about calls, in tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Estimate, ratios
from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_US, MOST_WITH_CONDITION_US = 3.0, 15.0  # of one decision
MOST_GROWTH = 1.25  # from the smallest policy to the biggest
MOST_STALL_MS = 20.0
SERVICE_WAY = "in a process of its own"
FLAT = "the same principal"  # the decision that must not grow with the policy
WITHOUT_TARGET = ("a principal's first",)  # it is made once for each token
# of its Rust library the Python package is built by those who want it: no registry has it to pin
NOT_TO_BE_HAD = {"regorus": "not in the registry"}


def decisions(results: Mapping[str, Any]) -> Figures:
    """Return what decisions of our engine cost, against their targets."""
    costs = results["decisions"]
    sizes = list(next(iter(costs.values())))
    rows = []
    for name, by_size in costs.items():
        medians = [statistics.median(by_size[size]) for size in sizes]
        most = MOST_WITH_CONDITION_US if "condition" in name else MOST_US
        target = ("", "") if name in WITHOUT_TARGET else (f"<= {most:g}", verdict(max(medians) <= most))
        rows.append((name, *(f"{median:.1f}" for median in medians), *target))
    grown = growth(results)
    flat = (f"{FLAT}: {_count(sizes[-1])} / {_count(sizes[0])}", *[""] * (len(sizes) - 1), str(grown))
    rows.append((*flat, f"<= {MOST_GROWTH:g}", verdict(grown.median <= MOST_GROWTH)))
    return Figures(("us, by bindings", *map(_count, sizes), "target", ""), rows)


def growth(results: Mapping[str, Any]) -> Estimate:
    """Return how much more a decision costs with the biggest policy than with the smallest."""
    by_size = results["decisions"][FLAT]
    sizes = list(by_size)
    return ratios(by_size[sizes[-1]], by_size[sizes[0]])


def stall_ms(results: Mapping[str, Any]) -> float:
    """Return how long a task has to wait while a policy is read the way the service does it, median."""
    return float(statistics.median(each["stall_ms"] for each in results["reload"][SERVICE_WAY]))


def engines(results: Mapping[str, Any]) -> Figures:
    """Return what the same decisions cost in other engines."""
    costs = results["engines"]
    sizes = list(next(iter(costs.values())))
    names = [name.removesuffix(", allowed") for name in costs if name.endswith(", allowed")]
    rows = [
        (
            name,
            *(
                " / ".join(
                    f"{statistics.median(costs[f'{name}, {kind}'][size]):,.1f}" for kind in ("allowed", "refused")
                )
                for size in sizes
            ),
            f"{results['loading'][name][sizes[-1]]:.1f}",
        )
        for name in names
    ]
    rows += [(f"{name} ({why})", *["-"] * len(sizes), "-") for name, why in NOT_TO_BE_HAD.items()]
    header = ("us, allowed / refused", *map(_count, sizes), f"s to read {_count(sizes[-1])}")
    return Figures(header, rows)


def reload(results: Mapping[str, Any]) -> Figures:
    """Return what calls feel of a new policy."""
    rows = []
    for way, rounds in results["reload"].items():
        stalls, works, seconds = ([each[key] for each in rounds] for key in ("stall_ms", "work_ms", "seconds"))
        stall = statistics.median(stalls)
        target = (f"<= {MOST_STALL_MS:g}", verdict(stall <= MOST_STALL_MS)) if way == SERVICE_WAY else ("", "")
        taken = "" if way == "nothing" else f"{statistics.median(seconds):.1f}"
        shown = f"{statistics.median(works):,.1f}", f"{stall:,.1f} ({min(stalls):,.1f} to {max(stalls):,.1f})"
        rows.append((way, taken, *shown, *target))
    return Figures(("read", "decides, s", "own work, ms", "stall, ms", "target", ""), rows)


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return all tables by what the page calls them."""
    return {"decisions": decisions(results), "engines": engines(results), "reload": reload(results)}


def versions(results: Mapping[str, Any]) -> str:
    """Return what was measured."""
    return ", ".join(f"{name} {version}" for name, version in results["versions"].items())


def _count(size: str) -> str:
    return f"{int(size):,}"
