"""The servers that are compared, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workspace import FailedError
from tools.bake import ROOT

if TYPE_CHECKING:
    from benchmarks.workspace import Workspace

START_SECONDS = 30.0
STOP_SECONDS = 10.0
CPUCLOCK_SCHED = 2  # of <linux/posix-timers.h>: the process's CPU time, all threads, in nanoseconds


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to serve the same method."""

    name: str
    what: str
    arguments: tuple[str, ...]


BARE = Contender("bare", "grpc.aio with mutual TLS and nothing else", ("benchmarks.servers", "bare"))
KERNEL = Contender("kernel", "our serving loop and chain, no stage", ("benchmarks.servers", "kernel"))
OURS = Contender(
    "full chain",
    "the generated service, all controls on",
    ("order_service", "serve", "--config", "build/benchmark.yaml"),
)
TEXTBOOK = Contender("textbook", "six interceptors, as tutorials have them", ("benchmarks.servers", "textbook"))
ALL = (BARE, KERNEL, OURS, TEXTBOOK)


class Server:
    """A contender that runs.

    Args:
        contender: Which.
        workspace: Where.

    """

    def __init__(self, contender: Contender, workspace: Workspace) -> None:
        """Start it."""
        self.contender = contender
        self._output = workspace.service / "build" / f"{contender.name.replace(' ', '-')}.log"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SECURE_RPC_", "GRPC_"))
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [str(workspace.python), "-m", *contender.arguments],
                cwd=workspace.service,
                env={**environment, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        line: dict[str, Any] = self._first_line()
        self.target: str = line["address"]
        self.admin: str = line.get("admin", "")
        self._pid = int(line.get("pid", self._process.pid))  # of the process that takes the calls

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process so far, of all its threads, from its own clock."""
        return time.clock_gettime((~self._pid << 3) | CPUCLOCK_SCHED)

    def keep_to(self, core: int) -> None:
        """Let it, its supervisor included, run on one core alone."""
        for pid in {self._process.pid, self._pid}:
            for thread in Path("/proc", str(pid), "task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _first_line(self) -> dict[str, Any]:
        """Return what it says when it listens."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            for line in self._output.read_text(encoding="utf-8").splitlines():
                if line.startswith("{") and line.endswith("}") and '"serving"' in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            time.sleep(0.05)
        self.stop()
        raise FailedError(f"{self.contender.name} did not start:\n{self._output.read_text(encoding='utf-8')}")
