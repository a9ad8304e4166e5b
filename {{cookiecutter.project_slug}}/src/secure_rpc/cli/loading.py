"""The application of a service, and what its methods ask for, without a server."""

from __future__ import annotations

import importlib

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from secure_rpc.call import Contract
from secure_rpc.cli.methods import methods_of
from secure_rpc.known import foreign_contracts
from secure_rpc.platform import Application
from secure_rpc.policy.contract import Contracts
from secure_rpc.settings import Settings
from secure_rpc.v1 import exchange_pb2, session_pb2


def load_application(module: str) -> Application:
    """Return the `APPLICATION` of a module."""
    application = importlib.import_module(module).APPLICATION
    if not isinstance(application, Application):
        raise TypeError(f"{module}.APPLICATION is no secure_rpc.platform.Application")
    return application


def contracts_of(application: Application, settings: Settings) -> tuple[dict[str, Contract], set[str]]:
    """Return what each method that the server would have asks for, by path, and all permissions among it.

    Raises:
        ConfigurationError: a method asks for nothing.
    """
    contracts = Contracts(foreign_contracts(settings), settings.quotas)
    methods = dict(methods_of(application))
    services = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
    if settings.reflection.enabled:
        services.append(reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name)
    if settings.authentication.exchange is not None:
        services.append(exchange_pb2.DESCRIPTOR.services_by_name["TokenExchangeService"].full_name)
    if settings.sessions.refresh:
        services.append(session_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name)
    for service in services:
        found = descriptor_pool.Default().FindServiceByName(service)
        methods |= {f"/{service}/{method.name}": method for method in found.methods}
    return {path: contracts.of(path, descriptor) for path, descriptor in methods.items()}, contracts.permissions
