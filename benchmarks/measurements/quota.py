"""One quota for four replicas that share a store: how exact it is, and how often the store is asked."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import OURS
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import running
from benchmarks.tables import Figures
from benchmarks.told import told
from benchmarks.workspace import FailedError, run, write_settings
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPLICAS = 4
CALLS, BURST = 200, 200  # a second, for the caller by all replicas together
SECONDS, QUICK_SECONDS = 10, 3
RATE = 10.0  # calls a second at each replica, of a caller far from its limit
CONFIG = "build/benchmark-quota-{}.yaml"
PROGRAMS = ("valkey-server", "redis-server")
PATIENCE_SECONDS = 10.0


def measure(setting: Setting) -> Results:
    """Spend a quota at four replicas: greedily, then modestly."""
    workspace = setting.workspace
    seconds = QUICK_SECONDS if setting.quick else SECONDS
    found: Results = {"replicas": REPLICAS, "calls": CALLS, "burst": BURST, "callers": {}}
    with ExitStack() as stack:
        port = stack.enter_context(store())
        targets = []
        for number in range(REPLICAS):
            write_settings(workspace, CONFIG.format(number), _settings(number, port))
            arguments = (*OURS.arguments[:-1], CONFIG.format(number))
            contender = replace(OURS, name=f"replica {number}", arguments=arguments)
            targets.append(stack.enter_context(running(contender, workspace)).server.target)
        client = stack.enter_context(told(workspace, "spenders", ".dev", workspace.token_of("bob"), *targets))
        for who in ("greedy", "modest"):
            client.make("modest", 1)  # connections are open
            time.sleep(2 * BURST / CALLS + 1)  # the quota is whole again
            with setting.status(f"a {who} caller of {REPLICAS} replicas"):
                before = asked(port)
                became = client.make(who, seconds)
            found["callers"][who] = {**became, "round_trips": asked(port) - before}
        found["far"] = _far_from_the_limit(setting, port, seconds)
    return found


def _far_from_the_limit(setting: Setting, port: int, seconds: float) -> dict[str, int]:
    """Return which calls of a modest caller had to wait for the store."""
    numbers = {"calls": CALLS, "burst": BURST, "replicas": REPLICAS, "rate": RATE, "seconds": seconds}
    options = [text for name, number in numbers.items() for text in (f"--{name}", str(number))]
    python, url = setting.workspace.python, f"redis://127.0.0.1:{port}"
    said = run(python, "-m", "benchmarks.reservations", url, *options, folder=setting.workspace.service, path=ROOT)
    far: dict[str, int] = json.loads(said)
    return far


def _settings(number: int, port: int) -> dict[str, Any]:
    return {
        "service": {"environment": "development"},  # a store without TLS, on this machine
        "state": {"redis_url": f"redis://127.0.0.1:{port}"},
        "quotas": {"default": {"calls": CALLS, "period_seconds": 1, "burst": BURST}},
        "load": {"adaptive": False},
        "audit": {"file": f"build/audit-quota-{number}.log"},
        "replay": {"file": None},
    }


@contextmanager
def store() -> Iterator[int]:
    """Run Valkey or Redis on a free port, and give the port.

    Raises:
        FailedError: None is installed.

    """
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise FailedError(
            "neither valkey-server nor redis-server is installed: on Debian, apt-get install redis-server"
        )
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    asked(port)
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait()


def asked(port: int) -> int:
    """Return how often scripts were called in a store so far: each is one round trip of a quota."""
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rwb") as line:
        line.write(b"INFO commandstats\r\n")
        line.flush()
        size = int(line.readline()[1:])
        text = line.read(size).decode()
    counts = [
        part.partition("calls=")[2].partition(",")[0] for part in text.splitlines() if part.startswith("cmdstat_eval")
    ]
    return sum(map(int, counts))


def exact(results: Mapping[str, Any]) -> float:
    """Return by how many bursts what was let through is off what one counter would let through."""
    greedy = results["callers"]["greedy"]
    expected = results["burst"] + results["calls"] * greedy["seconds"]
    return float(abs(greedy["ended"]["OK"] - expected) / results["burst"])


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what became of the calls, and how often the store was asked."""
    rows = []
    for who, became in results["callers"].items():
        calls = sum(became["ended"].values())
        expected = results["burst"] + results["calls"] * became["seconds"]
        rows.append(
            (
                who,
                f"{calls:,}",
                f"{became['ended'].get('OK', 0):,}",
                f"{min(expected, calls):,.0f}",
                f"{became['round_trips'] / calls:.3f}",
            )
        )
    return {"quota": Figures(("caller", "calls", "let through", "by one counter", "round trips a call"), rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold exactness and round trips against what is promised."""
    off = exact(results)
    later = results["far"]["waited_later"]
    greedy = results["callers"]["greedy"]
    trips = greedy["round_trips"] / sum(greedy["ended"].values())
    return [
        Target("7", "bursts off one counter, 4 replicas", f"{off:.2f}", "<= 1", off <= 1),
        Target("7", "round trips a call, at the limit", f"{trips:.3f}", "<= 1", trips <= 1),
        Target("7", "calls that wait, far from the limit, but a replica's first", f"{later}", "0", later == 0),
    ]


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return what the quota was."""
    return {
        "quota_replicas": str(results["replicas"]),
        "quota_calls": str(results["calls"]),
        "quota_burst": str(results["burst"]),
        "quota_far": f"{results['far']['calls']:,}",
        "quota_waited": str(results["far"]["waited"]),
    }


QUOTA = Measurement("quota", "one quota for four replicas", measure, tables, targets, values=values)
