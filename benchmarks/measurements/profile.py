"""Where the time of a call goes: by thread, by part, and as a flame picture of the thread that serves."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

from benchmarks import flame, load, processes
from benchmarks.contenders import OURS
from benchmarks.measurement import Measurement, Results, Setting
from benchmarks.rig import SETTLE_SECONDS, running
from benchmarks.tables import Figures
from benchmarks.workspace import FOLDER, FailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

RATE = 100  # samples a second
ROUNDS_OF_TIME = 8  # of the setting's time for a server, that the sampling takes
MAIN = "MainThread"
SERVES = "serves: the event loop"
# whose the innermost frame is; "function (file", as the sampler names them, or the file alone
PARTS = {
    "secure_rpc/serving.py": "a call is taken up and let go",
    "secure_rpc/carrying.py": "a call is taken up and let go",
    "Carrier.finish (secure_rpc/carrying.py": "gRPC: the reply is encrypted and sent",
    "_all_of (secure_rpc/carrying.py": "gRPC: the reply is encrypted and sent",
    "_PumpedServer._pump (secure_rpc/serving.py": "gRPC: asked for the next call",
    "Call.request (secure_rpc/call.py": "gRPC: asked for the request; it is decoded",
    "Call._decoded (secure_rpc/call.py": "gRPC: asked for the request; it is decoded",
    "Call.peer (secure_rpc/call.py": "gRPC: asked who the peer is",
    "secure_rpc/call.py": "the call itself",
    "secure_rpc/current.py": "the call itself",
    "secure_rpc/method.py": "time limits",
    "secure_rpc/deadlines.py": "time limits",
    "secure_rpc/chain.py": "the chain",
    "secure_rpc/handling.py": "the chain",
    "secure_rpc/stages/error_boundary.py": "the chain",
    "secure_rpc/stages/load_limit.py": "load limit",
    "secure_rpc/shedding/": "load limit",
    "secure_rpc/stages/authentication.py": "authentication",
    "secure_rpc/identity/": "authentication",
    "secure_rpc/headers.py": "authentication",
    "secure_rpc/caller.py": "authentication",
    "secure_rpc/stages/authorization.py": "authorization",
    "secure_rpc/policy/": "authorization",
    "secure_rpc/stages/rate_limit.py": "quota",
    "secure_rpc/state/": "quota",
    "secure_rpc/quota.py": "quota",
    "secure_rpc/stages/validation.py": "validation",
    "secure_rpc/stages/audit.py": "audit",
    "secure_rpc/audit/": "audit",
    "secure_rpc/stages/telemetry.py": "telemetry",
    "secure_rpc/telemetry/": "telemetry",
    "secure_rpc/trace_context.py": "telemetry",
    "secure_rpc/outcome.py": "telemetry",
    "secure_rpc/batching.py": "telemetry",
    "order_service/": "the handler",
}
OWN = ("(secure_rpc/", "(order_service/")
OTHER = "event loop, and gRPC's events on it"


def measure(setting: Setting) -> Results:
    """Make calls while the server's stacks are looked at."""
    workspace = setting.workspace
    seconds = setting.seconds * ROUNDS_OF_TIME
    raw = FOLDER / "profile.raw"
    with running(OURS, workspace) as rig:
        rig.measure(workspace)
        rate = rig.measure(workspace).calls_per_second
        before = processes.thread_seconds(rig.server.pid)
        done = load.apply(workspace, rig.server.target, rig.ask, int(rate * seconds))
        time.sleep(SETTLE_SECONDS)
        after = processes.thread_seconds(rig.server.pid)
        command = [workspace.service / ".venv/bin/py-spy", "record", "--format", "raw", "--output", raw, "--threads"]
        command += ["--rate", str(RATE), "--duration", str(int(seconds)), "--pid", str(rig.server.pid)]
        sampler = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        load.apply(workspace, rig.server.target, rig.ask, int(rate * seconds))  # until after the sampling, about
        _, told = sampler.communicate(timeout=60)
    if sampler.returncode != 0:
        raise FailedError(f"py-spy failed: {told.decode()}")
    names, stacks = read(raw)
    threads: dict[str, float] = {}
    for thread, (known_as, so_far) in after.items():
        name = _told(names.get(thread, ""), known_as)
        used = so_far - before.get(thread, ("", 0.0))[1]
        threads[name] = threads.get(name, 0.0) + used / done.calls * 1e6
    return {"threads": threads, "stacks": stacks}


def _told(name: str, known_as: str) -> str:
    """Return what a thread is for, by the name that Python gave it and the one that Linux knows."""
    if name == MAIN:
        return SERVES
    if "_poll_wrapper" in name:
        return "gRPC: hands over events"
    if name.startswith("audit"):
        return "audit: writes and syncs"
    return "gRPC: sockets, TLS, timers" if known_as.startswith(("event_engine", "grpc")) else "all others"


def read(raw: Path) -> tuple[dict[int, str], list[list[Any]]]:
    """Return the names of threads, and the stacks of the main one, each with how often it was seen."""
    names: dict[int, str] = {}
    stacks: dict[tuple[str, ...], int] = {}
    for line in raw.read_text(encoding="utf-8").splitlines():
        stack, _, samples = line.rpartition(" ")
        thread, *frames = stack.split(";")
        number, name = re.fullmatch(r"thread \((\d+)\): (.*)", thread).groups()  # type: ignore[union-attr]
        names[int(number)] = name
        if name == MAIN:
            key = tuple(re.sub(r":\d+\)$", ")", frame) for frame in _from_the_loop_on(frames))
            stacks[key] = stacks.get(key, 0) + int(samples)
    return names, [[list(stack), samples] for stack, samples in sorted(stacks.items(), key=lambda item: -item[1])]


def _from_the_loop_on(frames: list[str]) -> list[str]:
    """Leave out what started the event loop: it is the same in all."""
    for place, frame in enumerate(frames):
        if frame.startswith("Runner.run "):
            return frames[place + 1 :]
    return frames


def part_of(frame: str) -> str:
    """Return the part that a frame belongs to, "" for none."""
    _, _, file = frame.partition(" (")
    fitting = [begin for begin in PARTS if (frame if " (" in begin else file).startswith(begin)]
    return PARTS[max(fitting, key=len)] if fitting else ""


def shares(stacks: Iterable[tuple[Sequence[str], int]]) -> dict[str, float]:
    """Return which share of the time each part has: a stack is of the part that its innermost frame of any is of."""
    found: dict[str, int] = {}
    for stack, samples in stacks:
        name = next(filter(None, map(part_of, reversed(stack))), OTHER)
        found[name] = found.get(name, 0) + samples
    whole = sum(found.values())
    return {name: samples / whole for name, samples in found.items()}


def picture(results: Mapping[str, Any]) -> str:
    """Return the flame picture of the thread that serves."""
    us = results["threads"][SERVES]
    root = flame.tree(results["stacks"], "the event loop")
    return flame.picture("Where the time of a call goes", root, f"{us:.0f} us a call", OWN)


def _rows(found: Mapping[str, float]) -> list[tuple[str, str, str]]:
    whole = sum(found.values())
    in_order = sorted(found.items(), key=lambda item: -item[1])
    return [(name, f"{us:.1f}", f"{us / whole:.0%}") for name, us in in_order]


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return the time of a call by thread, and that of the thread that serves by part."""
    threads = results["threads"]
    parts = {part: share * threads[SERVES] for part, share in shares(results["stacks"]).items()}
    header = ("us a call", "share")
    return {
        "threads": Figures(("thread", *header), _rows(threads)),
        "parts": Figures(("part of it", *header), _rows(parts)),
    }


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return how often was looked."""
    return {"rate": str(RATE), "samples": f"{sum(samples for _, samples in results['stacks']):,}"}


PROFILE = Measurement("profile", "where the time of a call goes", measure, tables, values=values, under_load=True)
