"""gRPC's synchronous server: mutual TLS, sixteen threads, no interceptor."""

from __future__ import annotations

import importlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from benchmarks.servers.common import credentials, say_serving

THREADS = 16


def main() -> None:
    """Serve until SIGTERM."""
    messages = importlib.import_module("order_service.v1.order_pb2")
    stubs = importlib.import_module("order_service.v1.order_pb2_grpc")
    store = importlib.import_module("order_service.store").OrderStore()

    base: Any = stubs.OrderServiceServicer

    class Servicer(base):  # type: ignore[misc]  # generated with each service
        """What is measured of the generated service, without async."""

        def GetOrder(self, request: Any, _context: object) -> Any:  # noqa: N802  # the proto's name
            """Return one."""
            return messages.GetOrderResponse(order=store.get(request.tenant, request.id))

        def CreateOrder(self, request: Any, _context: object) -> Any:  # noqa: N802  # the proto's name
            """Make one."""
            return messages.CreateOrderResponse(order=store.add(request.tenant, request.title))

    server = grpc.server(ThreadPoolExecutor(THREADS))
    stubs.add_OrderServiceServicer_to_server(Servicer(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials())
    server.start()
    say_serving(port)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stopping.wait()
    server.stop(1).wait()
