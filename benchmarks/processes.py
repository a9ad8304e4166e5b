"""What processes need, as Linux counts it: CPU time of all their threads, and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CPUCLOCK_SCHED = 2  # of <linux/posix-timers.h>: a process's CPU time, all threads, in nanoseconds
TICKS = os.sysconf("SC_CLK_TCK")  # a second, of times in /proc
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of processes so far, from their own clocks."""
    return sum(time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED) for pid in pids)


def thread_seconds(pid: int) -> dict[int, tuple[str, float]]:
    """Return the name and the CPU time so far of each thread of a process, to a hundredth of a second or so."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text(encoding="utf-8").partition("(")[2].rpartition(") ")
        user, system = rest.split()[11:13]
        found[int(task.name)] = name, (int(user) + int(system)) / TICKS
    return found


def resident_bytes(pids: Iterable[int]) -> int:
    """Return what processes hold in memory; what they share is counted for each."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES for pid in pids)


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found
