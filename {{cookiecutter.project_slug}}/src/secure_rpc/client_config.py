"""What gRPC is told of the services that a client calls: which calls may be made again, and how servers are chosen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from secure_rpc.configuration import ConfigurationError
from secure_rpc.v1 import access_pb2

# Whatever else a server answers, it has looked at the call. gRPC's servers end with CANCELLED what reaches them while
# they shut down, before anybody has seen it. With RESOURCE_EXHAUSTED ours say how long to wait, or not to come again
RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2.0,
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"],
}
# a failure takes a token, a success gives a tenth of one back; below half of them nothing is made again (gRFC A6)
RETRY_THROTTLING = {"maxTokens": 20, "tokenRatio": 0.1}


def service_config(services: Iterable[ServiceDescriptor]) -> dict[str, Any]:
    """Return gRPC's service config for the services that will be called.

    Calls that never reached a server are made again by gRPC itself, those of any method (gRFC A6, transparent retries).

    Args:
        services: the services; what is not among them is never tried again.
    """
    safe = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if _may_be_made_again(method)
    ]
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": safe, "retryPolicy": RETRY_POLICY}] if safe else [],
        "retryThrottling": RETRY_THROTTLING,
    }


def replay_protected(services: Iterable[ServiceDescriptor]) -> frozenset[str]:
    """Return the methods that ask for a proof that they are not replayed, as "package.Service/Method"."""
    return frozenset(
        f"{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if _is_replay_protected(method)
    )


def target_of(target: str | Sequence[str], server_name: str) -> str:
    """Return gRPC's name for one target, or for several addresses.

    Args:
        target: any gRPC name, or addresses, such as "10.0.0.1:50051" or "[::1]:50051".
        server_name: the name that the certificates of all of them have.

    Raises:
        ConfigurationError: there is no address among them, or one that is none; or they have no name.
    """
    if isinstance(target, str):
        return target
    if not target:
        raise ConfigurationError("no address of a server is given; name one at least")
    if not server_name:
        raise ConfigurationError(
            "several addresses have no name in common; say server_name, which their certificates have"
        )
    versions = {_version(address) for address in target}
    if len(versions) > 1:
        raise ConfigurationError(f"{', '.join(target)}: gRPC takes addresses of one IP version together")
    return f"ipv{versions.pop()}:{','.join(target)}"


def _version(address: str) -> int:
    host, _, port = address.rpartition(":")
    with suppress(ValueError):
        version = ipaddress.ip_address(host.strip("[]")).version
        if port.isdecimal():
            return version
    raise ConfigurationError(
        f'{address} is no IP address with a port, such as "10.0.0.1:50051"; a name is a target by itself'
    )


def _may_be_made_again(method: MethodDescriptor) -> bool:
    """Tell whether it does no harm to make a call twice; one that is protected from replays says that it does."""
    idempotent = method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    return idempotent and not _is_replay_protected(method)


def _is_replay_protected(method: MethodDescriptor) -> bool:
    return method.GetOptions().Extensions[access_pb2.access].replay_protected
