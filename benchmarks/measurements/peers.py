"""The same call in other kinds of servers, in the same run: what it costs, what they hold, how long calls take."""

from __future__ import annotations

import json
import statistics
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import calls, json_client
from benchmarks.contenders import BARE, OURS, TEXTBOOK, Contender
from benchmarks.figures import Estimate, ratios
from benchmarks.load import Ask
from benchmarks.measurement import Measurement, Results, Setting
from benchmarks.measurements.latency import at_rate
from benchmarks.rig import column, in_turns, running, turned
from benchmarks.tables import Figures
from benchmarks.workspace import FailedError, run, set_up_peers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RATE, QUICK_RATE = 400, 100  # calls a second at which latencies are taken: what the slowest answers easily
LATENCY_ROUNDS = 5


def _server(name: str, what: str, module: str) -> Contender:
    return Contender(name, what, ("benchmarks.servers", module))


SAME_ENVIRONMENT = (
    BARE,
    _server("bare, asyncio", "the same on asyncio's own loop", "bare_asyncio"),
    OURS,
    TEXTBOOK,
    _server("textbook + OpenTelemetry", "the same behind OpenTelemetry's interceptor, 1 % sampled", "textbook_traced"),
    _server("grpc-interceptor", "that package's interceptors, PyJWT", "grpc_interceptor_package"),
    _server("sync", "gRPC's server of threads, 16 of them, no interceptor", "threads"),
    _server("Envoy + bare", "Envoy with mutual TLS, JWT, RBAC, quota and access log, before bare gRPC", "sidecar"),
)
FASTAPI = Contender(
    "FastAPI", "JSON over HTTP/1.1, uvicorn, PyJWT", ("benchmarks.peers", "fastapi_server"), python="peers"
)
CONNECT = Contender(
    "connectrpc", "Connect over HTTP/1.1, uvicorn, PyJWT", ("benchmarks.peers", "connect_server"), python="peers"
)
ALL = (*SAME_ENVIRONMENT, FASTAPI, CONNECT)
GUARDED = {OURS.name, TEXTBOOK.name, "textbook + OpenTelemetry", "grpc-interceptor", "Envoy + bare"}  # by a token


@dataclass(frozen=True, slots=True)
class _Http:
    """How a server is asked that speaks no gRPC, and what it answers."""

    path: str
    body: bytes
    headers: tuple[str, ...]
    answer: bytes


SPOKEN = {
    FASTAPI: _Http(
        f"/v1/tenants/{calls.TENANT}/orders/{calls.ID}",
        b"",
        (),
        json.dumps({"id": calls.ID, "tenant": calls.TENANT, "title": calls.TITLE}, separators=(",", ":")).encode(),
    ),
    CONNECT: _Http(calls.PATH, calls.REQUEST, ("content-type: application/proto",), calls.RESPONSE),
}


def measure(setting: Setting) -> Results:
    """Measure all of them in turns, then how long calls take at one rate."""
    workspace = setting.workspace
    with setting.status("setting up what the others need"):
        run("make", "build/envoy/.stamp", folder=workspace.service)
        set_up_peers()
    with ExitStack() as stack:
        rigs = [stack.enter_context(running(contender, workspace, client_of(contender))) for contender in ALL]
        for rig in rigs:
            if rig.name in GUARDED:
                rig.client.see_refused()
            if rig.server.contender in SPOKEN:
                spoken = SPOKEN[rig.server.contender]
                rig.ask = Ask(
                    rig.ask.token, spoken.body, len(spoken.answer), path=spoken.path, headers=spoken.headers, http1=True
                )
        samples = in_turns(rigs, setting)
        rate = QUICK_RATE if setting.quick else RATE
        latencies: Results = {rig.name: [] for rig in rigs}
        for number in range(min(setting.rounds, LATENCY_ROUNDS)):
            for rig in turned(rigs, number):
                with setting.status(f"round {number + 1}: {rig.name} at {rate} calls/s"), suppress(FailedError):
                    latencies[rig.name].append(at_rate(rate, rig, setting))  # one that is too slow has no latency
    return {"samples": samples, "latencies": latencies, "calls_per_second": rate}


def client_of(contender: Contender) -> Callable[..., Any]:
    """Return what looks at the answers of a server."""
    if contender not in SPOKEN:
        return calls.Client
    spoken = SPOKEN[contender]
    return lambda workspace, target, _writer, reader: json_client.Client(
        workspace, target, reader, spoken.path, spoken.body, spoken.headers, spoken.answer
    )


def _of_bare(results: Mapping[str, Any], name: str, key: str = "cpu_us") -> Estimate:
    return ratios(column(results["samples"][name], key), column(results["samples"][BARE.name], key))


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what each costs, holds, and how long its calls take."""
    rows = []
    for name, samples in results["samples"].items():
        taken = results["latencies"][name]
        bare = name == BARE.name
        rows.append(
            (
                name,
                f"{statistics.median(column(samples, 'cpu_us')):.0f}",
                "1" if bare else str(_of_bare(results, name)),
                f"{statistics.median(column(samples, 'calls_per_second')):,.0f}",
                "1" if bare else str(_of_bare(results, name, "calls_per_second")),
                f"{statistics.median(column(samples, 'memory_bytes')) / 1e6:.0f}",
                *(f"{statistics.median(column(taken, key)):.1f}" if taken else "-" for key in ("p50_ms", "p99_ms")),
            )
        )
    header = ("server", "CPU us/call", "CPU / bare", "calls/s", "calls/s / bare", "MB", "p50, ms", "p99, ms")
    return {"peers": Figures(header, rows)}


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return what each of them is."""
    listed = "\n".join(f"- **{contender.name}**: {contender.what}." for contender in ALL)
    return {"peers_listed": listed, "peers_rate": f"{results['calls_per_second']:,}"}


PEERS = Measurement("peers", "the same call in other kinds of servers", measure, tables, values=values, under_load=True)
