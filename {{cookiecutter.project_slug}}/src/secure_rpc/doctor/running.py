"""What a running service shows of itself: its probes and numbers, and what its gRPC port lets in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import verifier
from secure_rpc.audit.verify import Finding, verify
from secure_rpc.configuration import ConfigurationError
from secure_rpc.settings import Settings
from secure_rpc.workers.control import audit_files

PATIENCE_SECONDS = 5.0
OK = 200
READY, NUMBERS = "/readyz", "/metrics"


class Sample(NamedTuple):
    """One number."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Where:
    """Where to look, and by what the admin port knows us."""

    admin: str  # host:port of the admin port, or of the one for probes
    target: str  # host:port of the gRPC port
    ca_file: Path | None = None  # that vouches for the admin port; none: it is plain
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """What was seen of a running service."""

    where: Where
    ready: bool = False
    ready_said: str = ""
    skew_seconds: float | None = None  # of its clock from ours; None where it did not say
    metrics: Mapping[str, Sequence[Sample]] = field(default_factory=dict)  # by name; empty where there are none
    metrics_said: str = ""  # why there are none
    takes_tls_1_2: bool | None = None  # None where nobody answered
    takes_nobody: bool | None = None  # whether a client without certificate is let in
    logs: Sequence[Finding] = ()  # audit logs, where they are on this machine

    def values(self, name: str, **labels: str) -> list[float]:
        """Return the values of a metric, of those samples that have the labels."""
        found = self.metrics.get(name, ())
        return [each.value for each in found if all(each.labels.get(key) == value for key, value in labels.items())]


def look(where: Where, settings: Settings) -> Running:
    """Ask a running service; what does not answer is told, not raised.

    Args:
        where: it is.
        settings: its own.

    Raises:
        ConfigurationError: a file for TLS cannot be read.
    """
    verify_by: ssl.SSLContext | bool = False
    if where.ca_file is not None:
        verify_by = _context_of(where)
    scheme = "https" if where.ca_file is not None else "http"
    ready, ready_said, skew = False, "", None
    metrics: dict[str, list[Sample]] = {}
    metrics_said = ""
    with httpx.Client(
        base_url=f"{scheme}://{where.admin}", verify=verify_by, trust_env=False, timeout=PATIENCE_SECONDS
    ) as client:
        try:
            answer = client.get(READY)
            ready, ready_said = answer.status_code == OK, answer.text.strip()[:200]
            skew = _skew(answer.headers.get("date", ""))
            numbers = client.get(NUMBERS)
            if numbers.status_code == OK:
                metrics = parse(numbers.text)
            else:
                metrics_said = f"{where.admin}{NUMBERS} answers {numbers.status_code}"
        except (httpx.HTTPError, OSError, ValueError) as error:
            ready_said = metrics_said = metrics_said or f"{where.admin} does not answer: {error}"
    host, _, port = where.target.rpartition(":")
    address = host.strip("[]"), int(port)
    return Running(
        where,
        ready,
        ready_said,
        skew,
        metrics,
        metrics_said,
        _lets_in(address, ssl.TLSVersion.TLSv1_2),
        _lets_in(address, ssl.TLSVersion.TLSv1_3),
        tuple(_logs(settings)),
    )


def parse(text: str) -> dict[str, list[Sample]]:
    """Return the samples of a text in the OpenMetrics format, by their names.

    Raises:
        ValueError: it is none.
    """
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]  # ships no types
        for sample in family.samples:
            found.setdefault(sample.name, []).append(Sample(sample.labels, sample.value))
    return found


def _logs(settings: Settings) -> list[Finding]:
    key = settings.audit.checkpoint_key_file
    signatures = Signatures([verifier(key)]) if key is not None and key.exists() else None
    return [verify(file, signatures=signatures) for file in audit_files(settings) if file.exists()]


def _skew(date: str) -> float | None:
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except ValueError:
        return None


def _context_of(where: Where) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(where.ca_file))
        if where.certificate_file is not None and where.key_file is not None:
            context.load_cert_chain(where.certificate_file, where.key_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--ca, --certificate, --key: {where.ca_file}, {where.certificate_file}, {where.key_file}: no good for "
            f"TLS ({error}); name PEM files"
        ) from None
    context.check_hostname = False  # asked by address; the CA that is named vouches for no other service
    return context


def _lets_in(address: tuple[str, int], version: ssl.TLSVersion) -> bool | None:
    """Tell whether a client without certificate can speak to a port by one version of TLS; None: nobody answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, nothing is said to it
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection(address, PATIENCE_SECONDS) as plain:
            try:
                with context.wrap_socket(plain) as wrapped:
                    return bool(wrapped.recv(1))  # HTTP/2 begins with the server's settings; a refusal, with an alert
            except (ssl.SSLError, ConnectionError):
                return False
    except OSError:
        return None
