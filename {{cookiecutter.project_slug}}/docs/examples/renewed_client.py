"""A client in a pod, whose certificate is renewed while it calls; docs/calling.md explains it."""

from collections.abc import Sequence
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from secure_rpc.client import connect


def open_channel(target: str | Sequence[str], mount: Path, services: Sequence[ServiceDescriptor]) -> grpc.aio.Channel:
    """Return a channel that follows the certificate in a mounted Secret."""
    return connect(
        target,
        certificate_file=mount / "tls.crt",
        key_file=mount / "tls.key",
        ca_file=mount / "ca.crt",
        services=services,
        server_name="localhost",
    )
