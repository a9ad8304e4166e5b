"""`make bench`: measure, show, keep the results in `benchmarks/results/`, and make the page of them anew."""

from __future__ import annotations

import argparse
import os
import sys
import time

from benchmarks import cost_model, page, results
from benchmarks.measurement import Setting, console
from benchmarks.registry import ALL, BY_NAME
from benchmarks.workspace import FOLDER, FailedError, prepare

QUIET = 0.5  # load average over a minute below which the machine is left to us
ROUNDS, SECONDS = 12, 2.5
QUICK_ROUNDS, QUICK_SECONDS = 3, 1.0


def main() -> None:
    """Read the arguments, measure, show."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each server is measured")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each time, about")
    parser.add_argument(
        "--only", action="append", choices=list(BY_NAME), metavar="NAME",
        help=f"measure that alone; again for more. There are: {', '.join(BY_NAME)}",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement: it is kept in build/ alone")
    parser.add_argument(
        "--quiet-within", type=float, default=0.0, metavar="S", help="wait for a quiet machine, so long, each time"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = QUICK_ROUNDS, QUICK_SECONDS
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("there must be something to measure")
    chosen = [BY_NAME[name] for name in arguments.only] if arguments.only else list(ALL)
    folder = FOLDER / "results" if arguments.quick else results.FOLDER
    try:
        with console.status("generating a service and setting it up"):
            workspace = prepare(under_load=any(each.under_load for each in chosen))
    except FailedError as error:
        sys.exit(f"nothing can be measured: {error}")
    setting = Setting(workspace, arguments.quick, arguments.rounds, arguments.seconds)
    failed = []
    for measurement in chosen:
        console.rule(f"{measurement.name}: {measurement.what}")
        conditions = results.conditions(workspace, wait_until_quiet(arguments.quiet_within))
        try:
            found = measurement.measure(setting)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others go on: all of them take hours
            if not isinstance(error, FailedError):
                console.print_exception()
            console.print(f"cannot be measured: {error}", markup=False)
            failed.append(measurement.name)
            continue
        results.keep(measurement.name, found, conditions, folder)
        measurement.show(found)
    if not arguments.quick:
        for file in page.write():
            console.print(f"written: {file}")
        console.print(cost_model.write())
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def wait_until_quiet(seconds: float) -> float:
    """Return the load average once it is low, or once the time is up."""
    end = time.monotonic() + seconds
    with console.status("waiting for other programs to end"):
        while os.getloadavg()[0] > QUIET and time.monotonic() < end:
            time.sleep(2)
    return os.getloadavg()[0]


if __name__ == "__main__":
    main()
