"""A server that tells what reaches it: run by a service's own Python, with a certificate of its development CA.

Its argument is JSON: certificate, key and ca, PEM files. Prints {"port": ...} once it listens. Of each call it returns
the metadata and the names in the caller's certificate, as the title of an order. Its health is always good.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from order_service.v1 import order_pb2 as pb
from order_service.v1 import order_pb2_grpc as pb_grpc


class Telling(pb_grpc.OrderServiceServicer):  # type: ignore[misc]  # generated code: not here for a type checker
    """Tell what came, in place of what was asked for."""

    async def GetOrder(self, _request: pb.GetOrderRequest, context: Any) -> pb.GetOrderResponse:  # noqa: N802
        """Return an order whose title says it."""
        metadata = [[key, value] for key, value in context.invocation_metadata() if isinstance(value, str)]
        names = [name.decode() for name in context.auth_context().get("x509_subject_alternative_name", ())]
        return pb.GetOrderResponse(order=pb.Order(title=json.dumps({"metadata": metadata, "names": names})))


def file(name: str) -> bytes:
    """Return a file of those that the argument names."""
    return Path(json.loads(sys.argv[1])[name]).read_bytes()


async def main() -> None:
    """Serve until standard input ends."""
    server = grpc.aio.server()
    pb_grpc.add_OrderServiceServicer_to_server(Telling(), server)
    well = health.HealthServicer()
    await well.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(well, server)
    credentials = grpc.ssl_server_credentials(
        [(file("key"), file("certificate"))], file("ca"), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(json.dumps({"port": port}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
