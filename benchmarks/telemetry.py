"""What it costs to tell of calls: metrics, log and audit together, and tracing of one call in a hundred."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.contenders import OURS, Contender
from benchmarks.figures import estimate, ratios
from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.workspace import Workspace

MOST_US = 25.0  # of telemetry and audit together, a call
MOST_RATIO = 1.03  # of tracing at one per cent
SAMPLE_RATIO = 0.01
CONFIG = "build/benchmark-{}.yaml"

UNWATCHED = Contender("unwatched", "the full chain without telemetry and audit", (), counts=False)
TRACED = Contender("traced 1 %", "the full chain, 1 % of calls traced to a collector", ())
ALL_TRACED = Contender("traced 100 %", "the full chain, every call traced", ())
PLACES = {  # as `benchmarks.servers.together` is told of them
    f"benchmarks.servers.unwatched:{CONFIG.format('unwatched')}": UNWATCHED,
    f"order_service.app:{CONFIG.format('watched')}": OURS,
    f"order_service.app:{CONFIG.format('traced')}": TRACED,
    f"order_service.app:{CONFIG.format('all-traced')}": ALL_TRACED,
}


@contextmanager
def collector() -> Iterator[str]:
    """Run what takes all traces and keeps none; return its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # the server's name for it
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def write_settings(workspace: Workspace, endpoint: str) -> None:
    """Write the settings of all of them."""
    settings: dict[str, Any] = yaml.safe_load(workspace.config.read_text(encoding="utf-8"))
    # the limit that adapts would refuse some of what is measured, where another server in the same loop is slow
    settings["load"] = {**settings.get("load", {}), "adaptive": False}
    for name, ratio in (("unwatched", None), ("watched", None), ("traced", SAMPLE_RATIO), ("all-traced", 1.0)):
        settings["tracing"] = {} if ratio is None else {"otlp_endpoint": endpoint, "sample_ratio": ratio}
        settings["audit"]["file"] = f"build/audit-{name}.log"  # two servers never write to one
        (workspace.service / CONFIG.format(name)).write_text(yaml.safe_dump(settings), encoding="utf-8")


def cpu_of(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Sequence[float]]:
    """Return the CPU time per call of each round, by server."""
    return {name: [sample["cpu_us"] for sample in found] for name, found in samples.items()}


def figures(samples: Mapping[str, Sequence[Mapping[str, Any]]], stages: Mapping[str, Sequence[float]]) -> Figures:
    """Return what each of them costs, against another in the same round.

    Args:
        samples: Of the servers, by name.
        stages: As `benchmarks.telemetry_stages` prints it.

    """
    cpu = cpu_of(samples)
    ours, unwatched = cpu[OURS.name], cpu[UNWATCHED.name]
    watched = estimate([with_all - without for with_all, without in zip(ours, unwatched, strict=True)])
    traced, all_traced = ratios(cpu[TRACED.name], ours), ratios(cpu[ALL_TRACED.name], ours)
    alone = {name: estimate(stages[name]) for name in ("telemetry", "audit", "both")}
    rows = [
        *(
            (f"{name}, alone in a loop, us a call", f"{found.median:.1f} ({found.low:.1f} to {found.high:.1f})", "", "")
            for name, found in alone.items()
        ),
        (
            "telemetry and audit, in a loaded server, us a call",
            f"{watched.median:.1f} ({watched.low:.1f} to {watched.high:.1f})",
            f"<= {MOST_US:g}",
            verdict(watched.median <= MOST_US),
        ),
        ("full chain / without telemetry and audit", str(ratios(ours, unwatched)), "", ""),
        ("tracing of 1 % / none", str(traced), f"<= {MOST_RATIO:g}", verdict(traced.median <= MOST_RATIO)),
        ("tracing of all calls / none", str(all_traced), "", ""),
    ]
    return Figures(("CPU time", "median, interval", "target", ""), rows)
