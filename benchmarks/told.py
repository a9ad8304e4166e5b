"""A client in a process of its own, which makes calls when it is told to, and says in a line what became of them."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.workspace import FailedError
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.workspace import Workspace


class Told:
    """A client that waits for lines.

    Args:
        process: its.

    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take it over."""
        self._process = process

    def make(self, what: str, count: int) -> dict[str, Any]:
        """Have something made, and return what became of it.

        Raises:
            FailedError: The client has ended.

        """
        if self._process.stdin is None or self._process.stdout is None:
            raise FailedError("the client has no lines to speak on")
        self._process.stdin.write(f"{what} {count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise FailedError(f"the client has ended before {what} were made")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def told(workspace: Workspace, module: str, *arguments: str | Path) -> Iterator[Told]:
    """Start a client of the service's own Python, in the service's folder, and end it afterwards."""
    process = subprocess.Popen(
        [workspace.python, "-m", f"benchmarks.{module}", *arguments],
        cwd=workspace.service,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Told(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait()
