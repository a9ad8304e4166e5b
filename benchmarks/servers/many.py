"""The generated service with further methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from order_service import app
from secure_rpc.platform import Application

from benchmarks.servers.filler import add_filler

if TYPE_CHECKING:
    import grpc


def add_services(server: grpc.aio.Server) -> None:
    """Add the service, and methods beside it."""
    app.add_services(server)
    add_filler(server)


APPLICATION = Application(app.build_chain, add_services)
