"""What was measured, kept as JSON: one file for each measurement, with where and when it was made."""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workspace import HERE, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.workspace import Workspace

FOLDER = HERE / "results"


def keep(name: str, results: Mapping[str, Any], conditions: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write what was measured, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    text = json.dumps({"conditions": conditions, "results": results}, indent=1)
    file.write_text(re.sub(r"(?<=[\d.]{9})\d+", "", text) + "\n", encoding="utf-8")  # no figure is that exact
    return file


def load(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return all that is kept, by the name of the measurement."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}


def conditions(workspace: Workspace, load_before: float) -> dict[str, Any]:
    """Return where and when it is measured."""
    code = (
        "import platform, importlib.metadata as m; print('Python', platform.python_version(), sep='='); "
        "[print(n, m.version(n), sep='=') for n in ('grpcio', 'uvloop', 'protovalidate')]"
    )
    lines = run(workspace.python, "-c", code, folder=workspace.service).split()
    return {
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": dict(line.split("=", 1) for line in lines),
        "load_before": round(load_before, 2),
    }


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
