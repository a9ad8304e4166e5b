"""The standard health service (grpc.health.v1), behind the chain like any other; ends its watchers at shutdown."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

SERVING = health_pb2.HealthCheckResponse.SERVING


class Health(HealthServicer):
    """Say whether the server, and each of its services, takes calls."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    async def serve(self, services: list[str]) -> None:
        """Say that these services take calls."""
        for service in services:
            await self.set(service, SERVING)

    def end_watchers(self) -> None:
        """End the streams of those who watch; they would else hold the shutdown until its grace is over."""
        self._ended.set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """Stream each change of a service's status."""
        watching = asyncio.ensure_future(super().Watch(request, context))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            ended.cancel()
            await asyncio.wait({watching, ended})
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
