"""`audit export`: records to a syslog server or an OpenTelemetry collector, beside the service."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import typer

from secure_rpc import settings as settings_module
from secure_rpc.audit import sealing
from secure_rpc.audit.export import syslog
from secure_rpc.audit.export.exporter import Exporter, Positions
from secure_rpc.audit.export.otlp import Otlp
from secure_rpc.audit.export.sink import Sink, SinkUnavailable
from secure_rpc.cli.people import Config, default_config, errors, told_to_people
from secure_rpc.cli.telling import count, say
from secure_rpc.configuration import ConfigurationError
from secure_rpc.settings import Settings
from secure_rpc.telemetry import logging
from secure_rpc.workers.control import audit_files

SYSLOG_TLS_PORT, SYSLOG_TCP_PORT = 6514, 601  # RFC 5425, RFC 3195's as commonly used
FORMS = "syslog+tls://HOST, syslog+tcp://HOST, syslog+unix:///PATH, https://HOST:4318/v1/logs"
HEADERS_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"  # as OpenTelemetry has it: key=value,key=value


def export(  # noqa: PLR0913, PLR0917  # options
    to: Annotated[str, typer.Option(help=FORMS)],
    files: Annotated[list[Path] | None, typer.Argument(help="Logs; those of the settings if not given.")] = None,
    config: Config = default_config,
    position: Annotated[Path | None, typer.Option(help="Where is noted what was sent; beside the log.")] = None,
    ca: Annotated[Path | None, typer.Option(help="CAs of the other side; those of the system if not given.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Ours, in PEM, with its key behind it.")] = None,
    plaintext: Annotated[bool, typer.Option("--plaintext", help="Also to another machine.")] = False,  # noqa: FBT002
    once: Annotated[bool, typer.Option("--once", help="End when all that is there was sent.")] = False,  # noqa: FBT002
    identity: Annotated[Path | None, typer.Option(help="Opens files that were sealed before they were sent.")] = None,
) -> None:
    """Send records elsewhere as they come, each at least once: chain and seq tell a record that comes again."""
    with told_to_people():
        settings = settings_module.load(config)
        logging.configure(settings.logging.format, settings.logging.level, settings.service.log_fields)
        target = urlsplit(to)
        sink = _sink(target, settings, _context(target, ca, certificate), plaintext=plaintext)
        noted = position or settings.audit.file.with_name(f"{settings.audit.file.name}.sent-{target.scheme}")
        opens = sealing.identity(identity) if identity is not None else None
        exporter = Exporter(lambda: files or audit_files(settings), sink, Positions(noted), opens)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: exporter.stopping.set())
        try:
            sent = exporter.run(once=once)
        except SinkUnavailable as error:
            errors.print(f"not all was sent: {error}", style="red", markup=False)
            raise typer.Exit(1) from None
        finally:
            exporter.close()
        say(f"{count(sent, 'record')} sent")


def _sink(target: SplitResult, settings: Settings, context: ssl.SSLContext | None, *, plaintext: bool) -> Sink:
    """Return what takes the records.

    Raises:
        ConfigurationError: the address is none.
    """
    name, host = settings.service.name, socket.gethostname()
    if target.scheme == "syslog+unix" and target.path:
        return syslog.Syslog(lambda: syslog.unix(target.path), name, host)
    if target.scheme not in {"syslog+tls", "syslog+tcp", "https", "http"} or not target.hostname:
        raise ConfigurationError(f'--to: "{target.geturl()}" is no place to send to; it is one of {FORMS}')
    if context is None and not plaintext and not _is_loopback(target.hostname):
        raise ConfigurationError(
            f"--to: {target.scheme} would send records over the network for all to read; use TLS, or say --plaintext"
        )
    if target.scheme.startswith("http"):
        resource = {
            "service.name": name,
            "deployment.environment.name": settings.service.environment,
            "k8s.cluster.name": settings.service.cluster,
            "service.version": settings.service.deployment_id,
            "host.name": host,
        }
        present = {key: value for key, value in resource.items() if value}
        return Otlp(target.geturl(), present, context, _headers(os.environ.get(HEADERS_VARIABLE, "")))
    address = target.hostname, target.port or (SYSLOG_TCP_PORT if context is None else SYSLOG_TLS_PORT)
    return syslog.Syslog(lambda: syslog.tcp(*address, context), name, host)


def _context(target: SplitResult, ca: Path | None, certificate: Path | None) -> ssl.SSLContext | None:
    if target.scheme not in {"syslog+tls", "https"}:
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9662 asks for 1.2 at least
        if certificate is not None:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"--ca, --certificate: cannot be read ({error}); check the paths") from None
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _headers(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {key.strip(): value.strip() for key, _, value in pairs}
