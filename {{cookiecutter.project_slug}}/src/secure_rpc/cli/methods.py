"""The methods of a service, by what it would add to a server."""

from __future__ import annotations

from typing import cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc.platform import Application


class _Recorder:
    """Stands where a server is expected, and notes the services that are added."""

    def __init__(self) -> None:
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore what is also handed over by name."""

    def add_registered_method_handlers(self, service: str, _handlers: object) -> None:
        self.services.append(service)


def methods_of(application: Application) -> dict[str, MethodDescriptor]:
    """Return the service's methods by path."""
    recorder = _Recorder()
    application.add_services(cast("grpc.aio.Server", recorder))
    pool = descriptor_pool.Default()
    return {
        f"/{service}/{method.name}": method
        for service in recorder.services
        for method in pool.FindServiceByName(service).methods
    }
