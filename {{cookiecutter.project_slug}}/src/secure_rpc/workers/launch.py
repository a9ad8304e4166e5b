"""The supervisor's first steps. It imports little: the rest is loaded while the first worker loads itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from secure_rpc.telemetry.redaction import guard_tracebacks
from secure_rpc.workers import process

COMMAND = "serve"


def is_for_supervisor(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for a service, and is not that of one of its workers."""
    return list(arguments[:1]) == [COMMAND] and process.CONTROL_OPTION not in arguments


def is_for_worker(arguments: Sequence[str]) -> bool:
    """Tell whether a command line is that of a worker of a service."""
    return list(arguments[:1]) == [COMMAND] and process.CONTROL_OPTION in arguments


def supervise() -> int:
    """Run this process's own command in workers, until told to stop, and return the exit code."""
    guard_tracebacks()
    return asyncio.run(_supervise([sys.executable, *sys.orig_argv[1:]]))


async def _supervise(command: Sequence[str]) -> int:
    first = await process.start(command)
    from secure_rpc.workers.supervisor import Supervisor  # noqa: PLC0415  # see above

    return await Supervisor(command).run(first)
