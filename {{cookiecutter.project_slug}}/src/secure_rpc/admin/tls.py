"""Mutual TLS of the admin port, by Python's own `ssl`: the supervisor holds this port, and never imports grpc."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping
from typing import Any

from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from secure_rpc.admin.access import TlsFiles
from secure_rpc.configuration import ConfigurationError

FORBIDDEN = 403


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Return what a listener needs: TLS 1.3, our certificate, and the CAs of those who may knock.

    Raises:
        ConfigurationError: a file cannot be read, or is no good.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # a session that is resumed would not show its certificate again
    try:
        context.load_cert_chain(files.certificate_file, files.key_file)
        context.load_verify_locations(files.client_ca_file)
    except (OSError, ValueError) as error:  # ssl's own is an OSError
        names = f"{files.certificate_file}, {files.key_file}, {files.client_ca_file}"
        raise ConfigurationError(f"admin.tls: {names}: no good for TLS ({error}); mount sound ones") from None
    return context


def workload_of(certificate: Mapping[str, Any] | None) -> str:
    """Return the SPIFFE ID that a verified certificate names, "" where it does not name exactly one (X.509-SVID, 2)."""
    names = (certificate or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"]
    return uris[0] if len(uris) == 1 else ""


def protocol_for(allowed_workloads: Collection[str]) -> type[asyncio.Protocol]:
    """Return a protocol of uvicorn's that answers these workloads, and nobody else.

    Args:
        allowed_workloads: SPIFFE IDs, compared as they stand.
    """
    allowed = frozenset(allowed_workloads)
    refuse = PlainTextResponse("this certificate is not among admin.allowed_workloads\n", FORBIDDEN)

    class Guarded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if workload_of(transport.get_extra_info("peercert")) not in allowed:
                self.app = refuse

    return Guarded
