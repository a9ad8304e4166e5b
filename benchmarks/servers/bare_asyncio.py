"""gRPC alone, on asyncio's own loop."""

from __future__ import annotations

from benchmarks.servers.bare import make
from benchmarks.servers.common import run


def main() -> None:
    """Serve."""
    run(make, on_uvloop=False)
