"""How long it takes from nothing to files, and from files to the first secured call."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import OURS, Server
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.tables import Figures
from benchmarks.workspace import Workspace, run, write_settings
from tools.bake import bake

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_FILES_SECONDS, MOST_CALL_SECONDS = 2.0, 90.0
ROUNDS = 5


def measure(setting: Setting) -> Results:
    """Generate a service several times; set one up from nothing, start it, and call it."""
    answers = {"project_name": "Order Service", "trust_domain": "example.org"}
    files = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(2 if setting.quick else ROUNDS):
            folder = Path(name) / str(number)
            started = time.perf_counter()
            service = bake(folder, answers)
            files.append(time.perf_counter() - started)
            if number:
                shutil.rmtree(folder)
            else:
                kept = service
        parts = {}
        with setting.status("make setup, packages being there already"):
            started = time.perf_counter()
            run("make", "setup", folder=kept)
            parts["make setup"] = time.perf_counter() - started
        workspace = Workspace(kept, setting.workspace.shim)
        write_settings(workspace)
        started = time.perf_counter()
        server = Server(OURS, workspace)
        try:
            parts["start of the server"] = time.perf_counter() - started
            started = time.perf_counter()
            data = '{"tenant": "acme", "title": "first"}'
            command = ("call", "CreateOrder", "--as", "alice", "--target", server.target, "--data", data)
            run(workspace.python, "-m", "order_service", *command, folder=kept)
            parts["a call from the command line"] = time.perf_counter() - started
        finally:
            server.stop()
    return {"files_seconds": files, "parts_seconds": parts}


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return how long each part took."""
    rows = [("cookiecutter to files", f"{statistics.median(results['files_seconds']):.2f}")]
    rows += [(name, f"{seconds:.1f}") for name, seconds in results["parts_seconds"].items()]
    return {"start": Figures(("", "s"), rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold both against what is promised."""
    files, first = statistics.median(results["files_seconds"]), sum(results["parts_seconds"].values())
    most_files, most_call = MOST_FILES_SECONDS, MOST_CALL_SECONDS
    return [
        Target("9", "cookiecutter to files, s", f"{files:.2f}", f"< {most_files:g}", files < most_files),
        Target("9", "files to the first secured call, s", f"{first:.0f}", f"< {most_call:g}", first < most_call),
    ]


START = Measurement("start", "from nothing to the first secured call", measure, tables, targets)
