"""The servers that are compared, each in a process of its own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import processes
from benchmarks.workspace import FailedError, environment_python
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.workspace import Workspace

START_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to serve the same method."""

    name: str
    what: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    whole: bool = False  # whether several processes take calls, and all that it starts are counted
    counts: bool = True  # whether what it counts can be compared with what was asked
    python: str = ""  # another environment than the service's, by its name
    servers: int = 1  # that it has, each of which says where it listens


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
                [
                    str(environment_python(contender.python) if contender.python else workspace.python),
                    "-m",
                    *contender.arguments,
                ],
                cwd=workspace.service,
                env={**environment, **dict(contender.environment), "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.lines = self._first_lines()  # one of each server that it has
        line = self.lines[0]
        self.target: str = line["address"]
        self.admin: str = line.get("admin", "") if contender.counts else ""
        # the process that takes the calls and those that help it; not one that only waits for it to end
        self.pid = self._process.pid if contender.whole else int(line.get("pid", self._process.pid))
        self._pids = processes.family(self.pid)

    def each(self, contenders: Sequence[Contender]) -> list[Server]:
        """Return the servers that it has, each with its address; what one needs is what the process needs meanwhile."""
        found = []
        for contender, line in zip(contenders, self.lines, strict=True):
            server = copy.copy(self)
            server.contender, server.target = contender, line["address"]
            server.admin = line.get("admin", "") if contender.counts else ""
            found.append(server)
        return found

    def look_again(self) -> None:
        """Count the processes that have come meanwhile, too."""
        self._pids = processes.family(self.pid)

    def output(self) -> str:
        """Return what it has said."""
        return self._output.read_text(encoding="utf-8")

    def cpu_seconds(self) -> float:
        """Return the CPU time of its processes so far, of all their threads, from their own clocks."""
        return processes.cpu_seconds(self._pids)

    def memory_bytes(self) -> int:
        """Return what its processes hold in memory."""
        return processes.resident_bytes(self._pids)

    def keep_to(self, core: int) -> None:
        """Let it, its supervisor included, run on one core alone."""
        for pid in {self._process.pid, self.pid}:
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

    def _first_lines(self) -> list[dict[str, Any]]:
        """Return what it says when it listens."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            said = self.output().splitlines()
            found = [line for line in said if line.startswith("{") and line.endswith("}") and '"serving"' in line]
            if len(found) == self.contender.servers:
                return [json.loads(line) for line in found]
            time.sleep(0.05)
        self.stop()
        raise FailedError(f"{self.contender.name} did not start:\n{self.output()}")
