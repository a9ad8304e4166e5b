"""`make bench`: measure, show, and keep the results in `docs/`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks import load, report, store_report, stream_report, telemetry
from benchmarks.calls import Client, calls_counted
from benchmarks.contenders import ALL, OURS, Server
from benchmarks.workspace import HERE, FailedError, Workspace, prepare, run
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.contenders import Contender

SETTLE_SECONDS = 0.5  # after each run: what was put off is done, and counted
FIRST_CALLS = 2000
QUIET = 0.5  # load average over a minute below which the machine is left to us
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


@dataclass(slots=True)
class Rig:
    """A server, its client, and what was measured of it."""

    server: Server
    client: Client
    token: str
    calls: int = FIRST_CALLS
    samples: list[report.Sample] = field(default_factory=list)

    def measure(self, workspace: Workspace) -> report.Sample:
        """Return what one run costs, its deferred work included.

        Raises:
            FailedError: A call was refused, or the server has counted otherwise than the client.

        """
        self.client.check()
        counted = calls_counted(self.server.admin) if self.server.admin else {}
        cpu = self.server.cpu_seconds()
        done = load.apply(workspace, self.server.target, self.token, self.calls)
        time.sleep(SETTLE_SECONDS)
        cpu = self.server.cpu_seconds() - cpu
        if self.server.admin:
            expected = {**counted, "OK": counted.get("OK", 0) + done.calls}
            if (counted := calls_counted(self.server.admin)) != expected:
                raise FailedError(f"the server has counted {counted}, not {expected}")
        self.client.check()
        return report.Sample(
            cpu_us=cpu / done.calls * 1e6,
            calls_per_second=done.calls / done.seconds,
            client_share=done.client_cpu_seconds / done.seconds,
        )


def main() -> None:  # noqa: C901  # a branch for each thing that is measured
    """Read the arguments, measure, show."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="how often each server is measured")
    parser.add_argument("--seconds", type=float, default=2.5, help="how long each time, about")
    parser.add_argument(
        "--only",
        choices=["policy", "handshakes", "streams", "telemetry", "flood", "store"],
        help="measure that alone; nothing is written",
    )
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement: nothing is written")
    parser.add_argument(
        "--quiet-within", type=float, default=0.0, metavar="S", help="wait for a quiet machine, so long"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 3, 1.0
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("there must be something to measure")
    try:
        with console.status("generating a service and setting it up"):
            workspace = prepare(under_load=arguments.only in {None, "telemetry"})
        if arguments.only:
            _wait_until_quiet(arguments.quiet_within)
            if arguments.only == "telemetry":
                samples = watched(workspace, arguments)
                stages = json.loads(run(workspace.python, "-m", "benchmarks.telemetry_stages"))
                console.print(telemetry.figures(samples, stages).rich())
            elif arguments.only == "policy":
                report.show_policy(console, policy(workspace, quick=arguments.quick))
            elif arguments.only == "streams":
                console.print(stream_report.streams(streams(workspace, quick=arguments.quick)).rich())
            elif arguments.only == "store":
                console.print(store_report.waits(store(workspace)).rich())
            elif arguments.only == "flood":
                report.show_flood(console, flood(workspace, quick=arguments.quick))
            else:
                report.show_handshakes(console, handshakes(workspace, quick=arguments.quick))
            return
        results = measured(workspace, arguments)
    except FailedError as error:
        sys.exit(f"cannot be measured: {error}")
    report.show(console, results)
    if not arguments.quick:
        for file in report.write(results):
            console.print(f"written: {file}")


def policy(workspace: Workspace, *, quick: bool) -> dict[str, Any]:
    """Return what decisions about calls cost."""
    rounds = ("--rounds", "5", "--reloads", "1") if quick else ()
    with console.status("decisions about calls"):
        found: dict[str, Any] = json.loads(run(workspace.python, "-m", "benchmarks.policy", *rounds))
    return found


def handshakes(workspace: Workspace, *, quick: bool) -> dict[str, Any]:
    """Return what good callers feel of handshakes that fail."""
    rounds = ("--rounds", "2", "--seconds", "3") if quick else ()
    with running(OURS, workspace) as rig, console.status("handshakes that fail"):
        where = (rig.server.target, rig.server.admin, workspace.certificates, rig.token)
        found: dict[str, Any] = json.loads(run(workspace.python, "-m", "benchmarks.handshakes", *where, *rounds))
    return found


def streams(workspace: Workspace, *, quick: bool) -> dict[str, Any]:
    """Return what many live streams cost."""
    count = ("--streams", "1000", "--rounds", "2") if quick else ()
    with console.status("live streams"):
        found: dict[str, Any] = json.loads(
            run(workspace.python, "-m", "benchmarks.streams", *count, folder=workspace.service, path=ROOT)
        )
    return found


def store(workspace: Workspace) -> dict[str, Any]:
    """Return how long calls wait for a store that is away."""
    with console.status("a store that is away"):
        found: dict[str, Any] = json.loads(
            run(workspace.python, "-m", "benchmarks.store_away", folder=workspace.service, path=ROOT)
        )
    return found


def watched(workspace: Workspace, arguments: argparse.Namespace) -> dict[Contender, list[report.Sample]]:
    """Return what servers need for a call that tell more or less of it, measured in turns."""
    with ExitStack() as stack:
        telemetry.write_settings(workspace, stack.enter_context(telemetry.collector()))
        rigs = [stack.enter_context(running(server, workspace)) for server in telemetry.ALL]
        for rig in rigs:
            if rig.server.contender is telemetry.UNWATCHED:
                rig.server.admin = ""  # it counts nothing that could be compared
        return _in_turns(rigs, workspace, arguments)


def _in_turns(
    rigs: Sequence[Rig], workspace: Workspace, arguments: argparse.Namespace
) -> dict[Contender, list[report.Sample]]:
    """Return the samples of each server, measured round by round."""
    for rig in rigs:  # warm, then as many calls as fill the time
        with console.status(f"warming up: {rig.server.contender.name}"):
            for _ in range(2):
                rate = rig.measure(workspace).calls_per_second
                rig.calls = max(FIRST_CALLS, int(rate * arguments.seconds))
    for number in range(arguments.rounds):
        for rig in _turned(rigs, number):
            with console.status(f"round {number + 1} of {arguments.rounds}: {rig.server.contender.name}"):
                rig.samples.append(rig.measure(workspace))
    return {rig.server.contender: rig.samples for rig in rigs}


def flood(workspace: Workspace, *, quick: bool) -> dict[str, Any]:
    """Return what good callers feel of one address that floods the server."""
    rounds = ("--rounds", "2", "--seconds", "3") if quick else ()
    with running(OURS, workspace) as rig, console.status("a flood"):
        where = (rig.server.target, rig.server.admin, workspace.certificates, rig.token)
        servers, others = sorted(os.sched_getaffinity(0))[:2]
        rig.server.keep_to(servers)
        apart = ("taskset", "--cpu-list", str(others))  # who calls takes nothing from the server, as from afar
        found: dict[str, Any] = json.loads(run(*apart, workspace.python, "-m", "benchmarks.flood", *where, *rounds))
    return found


def measured(workspace: Workspace, arguments: argparse.Namespace) -> report.Results:
    """Return what every server needs for a call, measured in turns, and what parts of it cost."""
    with ExitStack() as stack:
        rigs = [stack.enter_context(running(server, workspace)) for server in ALL]
        load_before = _wait_until_quiet(arguments.quiet_within)
        samples = _in_turns(rigs, workspace, arguments)
        identity = json.loads(run(workspace.python, HERE / "identity.py", folder=workspace.service))
    decisions = policy(workspace, quick=arguments.quick)  # the servers have ended
    failing = handshakes(workspace, quick=arguments.quick)
    results = report.Results(
        samples, _versions(workspace), arguments.seconds, identity, decisions, failing, load_before
    )
    audited = run(
        workspace.python, "-m", "order_service", "audit", "verify", "build/audit.log", folder=workspace.service
    )
    if ": whole" not in audited:
        raise FailedError(f"the audit log of {OURS.name} is not whole: {audited}")
    return results


@contextmanager
def running(contender: Contender, workspace: Workspace) -> Iterator[Rig]:
    """Start a server, have it keep what will be asked for, and end it afterwards."""
    server = Server(contender, workspace)
    try:
        reader = workspace.token_of("bob")
        client = Client(workspace, server.target, workspace.token_of("alice"), reader)
        client.create()
        yield Rig(server, client, reader)
        client.close()
    finally:
        server.stop()


def _turned(rigs: Sequence[Rig], by: int) -> list[Rig]:
    """Return the same in another order: none always comes after the same one."""
    return [*rigs[by % len(rigs) :], *rigs[: by % len(rigs)]]


def _wait_until_quiet(seconds: float) -> float:
    """Return the load average once it is low, or once the time is up."""
    end = time.monotonic() + seconds
    with console.status("waiting for other programs to end"):
        while os.getloadavg()[0] > QUIET and time.monotonic() < end:
            time.sleep(2)
    return os.getloadavg()[0]


def _versions(workspace: Workspace) -> dict[str, str]:
    code = (
        "import platform, importlib.metadata as m; print('Python', platform.python_version(), sep='='); "
        "[print(n, m.version(n), sep='=') for n in ('grpcio', 'uvloop', 'protovalidate')]"
    )
    lines = run(workspace.python, "-c", code, folder=workspace.service).split()
    return dict(line.split("=", 1) for line in lines)


if __name__ == "__main__":
    main()
