"""The commands of a service. What a person did wrong is said in a line, without a traceback."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import structlog
import typer
import uvloop

from secure_rpc import settings as settings_module
from secure_rpc.cli import (
    api_keys,
    audit,
    calling,
    credentials,
    doctor,
    drill,
    edging,
    keyrings,
    load,
    observing,
    pki,
    policies,
)
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.people import CallersFile, Config, Folder, default_callers, default_config, told_to_people
from secure_rpc.dev import setup as development
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.platform import Application
from secure_rpc.server import Server
from secure_rpc.settings import Settings
from secure_rpc.telemetry import handshakes, logging
from secure_rpc.telemetry.redaction import guard_tracebacks
from secure_rpc.tls import floor
from secure_rpc.workers import process
from secure_rpc.workers.control import Control

log = structlog.get_logger(__name__)


def build(application_module: str) -> typer.Typer:
    """Return the command line of the service whose `APPLICATION` stands in the module."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
    app.add_typer(pki.pki_commands(), name="pki", help="Certificates.")
    app.add_typer(credentials.token_commands(), name="token", help="Access tokens.")
    app.add_typer(audit.commands(), name="audit", help="The audit log.")
    app.add_typer(api_keys.commands(), name="apikey", help="API keys.")
    app.add_typer(keyrings.commands(), name="keyring", help="Keys that encrypt sensitive fields.")
    app.add_typer(policies.commands(application_module), name="policy", help="The policy: who may call what.")
    app.add_typer(drill.commands(application_module), name="drill", help="What is claimed of the service, shown on it.")
    doctor.add(app, application_module)
    load.add(app, application_module)
    app.add_typer(edging.commands(application_module), name="edge", help="The Envoy before the service.")
    app.add_typer(observing.commands(), name="observe", help="Alerts and dashboards, built from what is promised.")

    @app.command()
    def serve(
        config: Config = default_config,
        control: Annotated[int | None, typer.Option(process.CONTROL_OPTION, hidden=True)] = None,
    ) -> None:
        """Start the service, until SIGTERM or Ctrl-C; SIGHUP replaces its processes one by one."""
        with told_to_people():
            settings = settings_module.load(config)
            if settings.tls.minimum_version is not floor.established():
                floor.start_again(settings.tls.minimum_version)
            application = load_application(application_module)
            line = None if control is None else Control(control)
            if line is not None:
                settings = line.place(settings)
            configure_logging(settings, line)
            guard_tracebacks()
            uvloop.run(serve_until_stopped(application, settings, line))

    @app.command()
    def call(
        method: Annotated[str, typer.Argument(help="Its name, such as GetOrder, or /package.Service/Method.")] = "",
        config: Config = default_config,
        data: Annotated[list[str] | None, typer.Option(help="A request in JSON; several for a stream.")] = None,
        caller: Annotated[str, typer.Option("--as", help="Who calls; empty for a call without token.")] = "",
        callers: CallersFile = default_callers,
        folder: Folder = development.FOLDER,
        target: Annotated[str, typer.Option(help="host:port; that of the settings if empty.")] = "",
    ) -> None:
        """Call the running service, with a certificate and a token. Without a method: list the methods."""
        with told_to_people():
            settings, files = settings_module.load(config), development.DevelopmentFiles(folder)
            methods = calling.methods_of(load_application(application_module))
            if not method:
                calling.show_methods(methods)
                return
            source = None
            if caller:
                issuer, who = development.token_issuer(settings, files), find_caller(load_callers(callers), caller)
                source = lambda: issuer.token(who)  # noqa: E731
            address = target or settings.listen.address
            found = calling.health_methods().get(method) or calling.find(methods, method)
            asked = calling.Ask(found, tuple(data or ()), address, settings.service.name)
            sys.exit(asyncio.run(calling.call(asked, files, source)))

    return app


async def serve_until_stopped(application: Application, settings: Settings, control: Control | None = None) -> None:
    """Start a server and return when it has been told to stop."""
    server = Server(application, settings, control)
    server.platform.tracing.make_global()
    if handshakes.is_silenced():
        log.warning("failed handshakes are not counted: unset GRPC_VERBOSITY, or set it to INFO")
    with handshakes.failures_read(server.platform.metrics.handshakes.failed):
        await server.start()
        await server.serve()


def configure_logging(settings: Settings, control: Control | None = None) -> None:
    """Set up the process's logs as the settings say; with several workers, each line says whose it is."""
    worker = {"worker": str(control.slot)} if control and settings.workers > 1 else {}
    logging.configure(settings.logging.format, settings.logging.level, {**settings.service.log_fields, **worker})
