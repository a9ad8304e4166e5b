"""The page of benchmarks, made of what was kept: `python -m benchmarks.page`."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks import plot, results
from benchmarks.measurement import TARGETS_HEADER
from benchmarks.measurements import profile
from benchmarks.registry import ALL
from benchmarks.rig import column
from benchmarks.tables import Figures
from benchmarks.workspace import HERE
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import TypeAlias

    from benchmarks.measurement import Measurement, Target

    Kept: TypeAlias = Mapping[str, Mapping[str, Any]]

PAGE = ROOT / "docs" / "benchmarks.md"
TEXTS = HERE / "pages"


def page(kept: Kept) -> str:
    """Return the page: a section for each measurement that was made."""
    made = [measurement for measurement in ALL if measurement.name in kept]
    parts = [_text("_head", _of_all(kept))]
    parts += [_section(measurement, kept[measurement.name]["results"]) for measurement in made]
    parts.append(_text("_tail", _conditions(kept)))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def targets(kept: Kept) -> list[Target]:
    """Return all targets, by their numbers."""
    found = [target for each in ALL if each.name in kept for target in each.targets(kept[each.name]["results"])]
    return sorted(found, key=lambda target: target.number)


def bars(results: Mapping[str, Any]) -> str:
    """Return the bars of what a call costs in each server."""
    samples = results["samples"]
    values = [(name, statistics.median(column(found, "cpu_us"))) for name, found in samples.items()]
    return plot.bars("CPU time of the server per call, in microseconds", values)


PICTURES: dict[str, tuple[Path, Callable[[Mapping[str, Any]], str]]] = {  # by the measurement that they show
    "servers": (PAGE.with_name("benchmarks.svg"), bars),
    "profile": (PAGE.with_name("flame.svg"), profile.picture),
}


def write() -> list[str]:
    """Write the page and its pictures; return their names, none where nothing is kept."""
    kept = results.load()
    if not kept:
        return []
    PAGE.write_text(page(kept), encoding="utf-8")
    written = [PAGE]
    for name, (file, picture) in PICTURES.items():
        if name in kept:
            file.write_text(picture(kept[name]["results"]), encoding="utf-8")
            written.append(file)
    return [str(file.relative_to(ROOT)) for file in written]


def _section(measurement: Measurement, found: Mapping[str, Any]) -> str:
    tables = {name: table.markdown() for name, table in measurement.tables(found).items()}
    return _text(measurement.name, {**tables, **measurement.values(found)})


def _of_all(kept: Kept) -> dict[str, str]:
    missing = [measurement.name for measurement in ALL if measurement.name not in kept]
    told = f"Not measured yet: {', '.join(missing)}." if missing else ""
    rows = [target.row() for target in targets(kept)]
    return {"targets": Figures(TARGETS_HEADER, rows).markdown(), "unmeasured": told}


def _conditions(kept: Kept) -> dict[str, str]:
    """Return where it was measured; each way that this differs between measurements."""
    every = [each["conditions"] for each in kept.values()]
    versions = [", ".join(f"{name} {version}" for name, version in each["versions"].items()) for each in every]
    made = sorted({each["made"] for each in every})
    loads = [each["load_before"] for each in every]
    days = " to ".join(dict.fromkeys([*made[:1], *made[-1:]]))
    return {
        "machine": _machines({name: each["conditions"]["machine"] for name, each in kept.items()}),
        "versions": "; ".join(dict.fromkeys(versions)),
        "made": f"Measured {days}; load average before the starts: {min(loads):.1f} to {max(loads):.1f}."
        if every
        else "",
    }


def _machines(of: Mapping[str, str]) -> str:
    """Return the machines, and where there are several, what was measured on which."""
    machines = dict.fromkeys(of.values())
    if len(machines) == 1:
        return next(iter(machines))
    return "; ".join(f"{each} ({', '.join(name for name in of if of[name] == each)})" for each in machines)


def _text(name: str, values: Mapping[str, str]) -> str:
    text = (TEXTS / f"{name}.md").read_text(encoding="utf-8")
    return re.sub(r"<<(\w+)>>", lambda found: values[found[1]], text)


if __name__ == "__main__":
    for file in write():
        print("written:", file)
