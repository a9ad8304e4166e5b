"""Results of benchmarks as the measurements return them, made up, so that what is said of them is known."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import ALL as CONTENDERS
from benchmarks.measurements.peers import ALL as PEERS

ROUNDS = 12
CONDITIONS = {"made": "2026-01-02", "machine": "A machine", "versions": {"Python": "3.11"}, "load_before": 0.1}


def policy(cost: float = 1.0, stall: float = 5.0, growth: float = 1.0) -> dict[str, Any]:
    def by_size(*sizes: int) -> dict[str, list[float]]:
        return {str(size): [cost * (growth if size == sizes[-1] else 1)] * ROUNDS for size in sizes}

    reload = {"stall_ms": stall, "work_ms": stall / 2, "seconds": 2.0}
    return {
        "decisions": {
            name: by_size(10, 100, 1000, 10_000)
            for name in ("the same principal", "condition on the request", "a principal's first")
        },
        "engines": {
            f"{name}, {kind}": by_size(10, 10_000) for name in ("ours", "x") for kind in ("allowed", "refused")
        },
        "loading": {name: {"10": 0.01, "10000": 1.5} for name in ("ours", "x")},
        "reload": {name: [reload] * 3 for name in ("nothing", "in a process of its own", "on the loop")},
        "versions": {"pycasbin": "1.2.3"},
    }


def handshakes(ratio: float = 1.2, missing: int = 0) -> dict[str, Any]:
    calm = {"p50_ms": 2.0, "p99_ms": 10.0}
    return {
        "rounds": [{"without": calm, "with": {"p50_ms": 2.5, "p99_ms": 10.0 * ratio}}] * ROUNDS,
        "sent": {"untrusted": 2000, "not_tls": 2000},
        "counted": {"untrusted": 2000, "not_tls": 2000 - missing, **({"other": missing} if missing else {})},
        "per_second": 200.0,
        "calls_per_second": 200,
    }


def samples(**cpu_us: float) -> dict[str, list[dict[str, float]]]:
    same = {"calls_per_second": 3000.0, "client_share": 0.3, "memory_bytes": 9e7}
    return {name: [{"cpu_us": cost, **same}] * ROUNDS for name, cost in cpu_us.items()}


def servers(ours: float = 90.0) -> dict[str, Any]:
    cost = {contender.name: 100.0 for contender in CONTENDERS} | {"full chain": ours, "textbook": 300.0}
    return {"samples": samples(**cost), "seconds": 2.5}


def refused(cost: float = 110.0) -> dict[str, Any]:
    return {"samples": samples(**{"bare": 100.0, "allowed": 90.0, "no token": 50.0, "another tenant": cost})}


def methods(secured: float = 150.0) -> dict[str, Any]:
    cost = {"bare, 5": 100.0, "bare, 105": 130.0, "bare, 500": 200.0}
    cost |= {"secured, 5": 100.0, "secured, 105": 100.0, "secured, 500": secured}
    return {"samples": samples(**cost)}


def kinds(beyond: float = 2.0) -> dict[str, Any]:
    each = {"bare": [50.0] * ROUNDS, "kernel": [51.0] * ROUNDS, "full chain": [50.0 + beyond] * ROUNDS}
    us = {kind: dict(each) for kind in ("unary", "client_stream", "server_stream", "bidi_stream")}
    return {"messages": 4000, "us": us}


def latencies(p99: float = 5.0) -> dict[str, Any]:
    def taken(longest: float) -> list[dict[str, float]]:
        return [{"p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": longest, "max_ms": 20.0}] * ROUNDS

    full = {"bare": 3000.0, "full chain": 2800.0}
    return {"calls_per_second": 1400, "full": full, "samples": {"bare": taken(5.0), "full chain": taken(p99)}}


def memory(rest: float = 90e6, last: float = 120e6) -> dict[str, Any]:
    return {
        "rest_bytes": rest,
        "passing": {"principals": {"count": 200_000, "bytes": [rest, *[120e6] * 9, last], "cpu_us": 400.0}},
    }


def peers() -> dict[str, Any]:
    taken = [{"p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 5.0, "max_ms": 20.0}] * ROUNDS
    names = [contender.name for contender in PEERS]
    latencies = {name: [] if name == "sync" else taken for name in names}
    return {"samples": samples(**dict.fromkeys(names, 100.0)), "latencies": latencies, "calls_per_second": 400}


def quota(served: int = 2200, round_trips: int = 900, later: int = 0) -> dict[str, Any]:
    greedy = {"ended": {"OK": served, "RESOURCE_EXHAUSTED": 1000}, "seconds": 10.0, "round_trips": round_trips}
    modest = {"ended": {"OK": 400}, "seconds": 10.0, "round_trips": 200}
    far = {"calls": 400, "waited": 4 + later, "waited_later": later}
    return {"replicas": 4, "calls": 200, "burst": 200, "callers": {"greedy": greedy, "modest": modest}, "far": far}


def rotation(failed: int = 0, longest: float = 0.5, problems: int = 0) -> dict[str, Any]:
    steps = [{"step": "new certificates", "calls": 600, "failed": {"UNAVAILABLE": failed} if failed else {}}]
    return {"steps": steps, "problems": ["a stream ended"] * problems, "revocation_seconds": [0.3, longest]}


def start(files: float = 1.0, setup: float = 30.0) -> dict[str, Any]:
    return {"files_seconds": [files] * 3, "parts_seconds": {"make setup": setup, "start of the server": 3.0}}


def profile() -> dict[str, Any]:
    """Return 100 samples of the thread that serves: a quarter of them of the writer of audit records."""
    outer = ["Chain.answering.<locals>.answer (secure_rpc/chain.py)", "Batch._take (secure_rpc/batching.py)"]
    return {
        "threads": {"serves: the event loop": 200.0, "all others": 50.0},
        "stacks": [
            [[], 40],
            [[outer[0]], 5],
            [[outer[0], "Carrier.finish (secure_rpc/carrying.py)"], 30],
            [[outer[1], "ChainLog._encode (secure_rpc/audit/chain_log.py)", "dumps (orjson/__init__.py)"], 25],
        ],
    }


MADE: dict[str, Any] = {
    "profile": profile,
    "peers": peers,
    "quota": quota,
    "rotation": rotation,
    "start": start,
    "workers": lambda: {"samples": samples(**{"1 workers": 100.0, "2 workers": 110.0}), "cores": 2},
    "principals": lambda: {"calls": 5000, "us": {"1": [100.0] * ROUNDS, "200000": [150.0] * ROUNDS}},
    "footprint": lambda: {
        "audit_bytes_per_call": 400.0,
        "log_bytes_per_call": 5.0,
        "series": 300,
        "series_of_a_method": 20,
    },
    "servers": servers,
    "refused": refused,
    "methods": methods,
    "kinds": kinds,
    "latency": latencies,
    "memory": memory,
    "policy": policy,
    "handshakes": handshakes,
    "identity": lambda: {"ES256": {"known, hot": 2.0}},
}


def kept(**over: Any) -> dict[str, Any]:
    made = {name: {"conditions": CONDITIONS, "results": make()} for name, make in MADE.items()}
    return made | {name: {"conditions": CONDITIONS, "results": found} for name, found in over.items()}
