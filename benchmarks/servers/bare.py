"""gRPC alone: mutual TLS, no interceptor."""

from __future__ import annotations

import grpc

from benchmarks.servers.common import add_service, run
from benchmarks.servers.filler import add_filler


def make() -> grpc.aio.Server:
    """Return the server."""
    server = grpc.aio.server()
    add_service(server)
    add_filler(server)
    return server


def main() -> None:
    """Serve."""
    run(make)
