"""`make bench-check`: measure the ratios that must not move unseen, quickly, and say which have moved.

Ratios are those of servers that took turns, so that they hold on other machines too; each comes with the interval that
holds the true median. One has moved if its interval and that of the baseline have nothing in common.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.figures import Estimate
from benchmarks.measurement import Setting, console
from benchmarks.registry import ALL
from benchmarks.run import wait_until_quiet
from benchmarks.tables import Figures
from benchmarks.workspace import HERE, FailedError, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BASELINE = HERE / "baseline.json"
ROUNDS, SECONDS = 7, 1.5
LEAST_SHARE = 0.03  # by which a median has to differ: less is nobody's concern, however sure it is
SAME, DEARER, CHEAPER, NEW, GONE = "the same", "**dearer**", "cheaper", "not in the baseline", "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one ratio."""

    name: str
    before: Estimate | None
    now: Estimate | None
    verdict: str

    def row(self) -> tuple[str, ...]:
        """Return it for a table."""
        shown = (str(each) if each else "-" for each in (self.before, self.now))
        return (self.name, *shown, self.verdict)


def compare(before: Mapping[str, Estimate], now: Mapping[str, Estimate]) -> list[Finding]:
    """Hold ratios against a baseline. All of them are costs: more is dearer."""
    names = [*before, *(name for name in now if name not in before)]
    return [Finding(name, before.get(name), now.get(name), _verdict(before.get(name), now.get(name))) for name in names]


def _verdict(before: Estimate | None, now: Estimate | None) -> str:
    if before is None:
        return NEW
    if now is None:
        return GONE
    if abs(now.median / before.median - 1) < LEAST_SHARE:
        return SAME
    if now.low > before.high:
        return DEARER
    return CHEAPER if now.high < before.low else SAME


def exit_code(findings: list[Finding]) -> int:
    """Return 1 where something has become dearer, or was not measured that should have been."""
    return int(any(finding.verdict in {DEARER, GONE} for finding in findings))


def read(file: Path = BASELINE) -> dict[str, Estimate]:
    """Return the ratios of a baseline."""
    kept = json.loads(file.read_text(encoding="utf-8"))["ratios"]
    return {name: Estimate(**ratio) for name, ratio in kept.items()}


def write(ratios: Mapping[str, Estimate], conditions: Mapping[str, Any], file: Path = BASELINE) -> None:
    """Keep ratios as the baseline."""
    rounded = {name: {key: round(value, 4) for key, value in asdict(ratio).items()} for name, ratio in ratios.items()}
    file.write_text(json.dumps({"conditions": conditions, "ratios": rounded}, indent=1) + "\n", encoding="utf-8")


def measured(setting: Setting) -> dict[str, Estimate]:
    """Return the ratios of all measurements that are quick enough."""
    found: dict[str, Estimate] = {}
    for measurement in ALL:
        if measurement.in_check:
            found |= measurement.ratios(measurement.measure(setting))
    return found


def published(kept: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Return the same ratios of what the page of benchmarks shows, and where they were measured.

    Args:
        kept: Results and conditions, by the name of the measurement.

    Raises:
        FailedError: One of them is not there.

    """
    checked = [measurement for measurement in ALL if measurement.in_check]
    if missing := [each.name for each in checked if each.name not in kept]:
        raise FailedError(f"benchmarks/results has nothing of: {', '.join(missing)}")
    ratios = {name: found for each in checked for name, found in each.ratios(kept[each.name]["results"]).items()}
    return ratios, dict(kept[checked[0].name]["conditions"])


def main() -> None:
    """Measure, compare, say what has moved."""
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep what is measured as the baseline")
    parser.add_argument(
        "--keep-published", action="store_true", help="keep what benchmarks/results holds as the baseline, and be done"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each server is measured")
    parser.add_argument(
        "--quiet-within", type=float, default=0.0, metavar="S", help="wait for a quiet machine, so long"
    )
    arguments = parser.parse_args()
    if arguments.keep_published:
        try:
            write(*published(results.load()))
        except FailedError as error:
            sys.exit(str(error))
        return
    if not arguments.keep and not BASELINE.exists():
        sys.exit(f"there is no {BASELINE.name} to compare with: make bench-check ARGS=--keep")
    try:
        with console.status("generating a service and setting it up"):
            workspace = prepare()
        conditions = results.conditions(workspace, wait_until_quiet(arguments.quiet_within))
        now = measured(Setting(workspace, quick=True, rounds=arguments.rounds, seconds=SECONDS))
    except FailedError as error:
        sys.exit(f"cannot be measured: {error}")
    if arguments.keep:
        write(now, conditions)
    findings = compare(read(), now)
    console.print(Figures(("ratio", "baseline", "now", ""), [finding.row() for finding in findings]).rich())
    sys.exit(exit_code(findings))


if __name__ == "__main__":
    main()
