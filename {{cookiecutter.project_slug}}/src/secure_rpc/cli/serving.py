"""The command that serves; all that a worker needs of the command line."""

from __future__ import annotations

import sys
from typing import Annotated

import structlog
import typer
import uvloop

from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.people import Config, default_config, errors, told_to_people
from secure_rpc.platform import Application
from secure_rpc.server import Server, ServingLoopCrashed
from secure_rpc.settings import Settings
from secure_rpc.telemetry import handshakes, logging
from secure_rpc.telemetry.redaction import guard_tracebacks, scrub
from secure_rpc.tls import floor
from secure_rpc.workers import process
from secure_rpc.workers.control import Control

EX_SOFTWARE = 70  # sysexits.h

log = structlog.get_logger(__name__)


def alone(application_module: str) -> typer.Typer:
    """Return a command line with this command and no other, whose modules a worker would keep in memory for nothing."""
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.callback()(_nothing_more)
    add(app, application_module)
    return app


def add(app: typer.Typer, application_module: str) -> None:
    """Add the command."""

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
            try:
                uvloop.run(serve_until_stopped(application, settings, line))
            except ServingLoopCrashed as error:
                cause = f": {scrub(repr(error.__cause__))}" if error.__cause__ else ""
                errors.print(f"{error}{cause}; the process ends so that it is started again", markup=False)
                sys.exit(EX_SOFTWARE)


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


def _nothing_more() -> None:
    """Leave the command a name of its own, though it is the only one."""
