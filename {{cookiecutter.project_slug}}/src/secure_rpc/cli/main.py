"""The commands: serve, call, pki, token, audit. What a person did wrong is said in a line, without a traceback."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from secure_rpc import settings as settings_module
from secure_rpc.audit import verify as audit_verify
from secure_rpc.cli import api_keys, calling, credentials, pki
from secure_rpc.cli.people import CallersFile, Config, Folder, default_callers, default_config, errors, told_to_people
from secure_rpc.dev import setup as development
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.platform import Application
from secure_rpc.server import Server
from secure_rpc.settings import Settings
from secure_rpc.telemetry import logging
from secure_rpc.tls import floor


def build(application_module: str) -> typer.Typer:
    """Return the command line of the service whose `APPLICATION` stands in the module."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
    audit = typer.Typer(no_args_is_help=True)
    app.add_typer(pki.pki_commands(), name="pki", help="Certificates.")
    app.add_typer(credentials.token_commands(), name="token", help="Access tokens.")
    app.add_typer(audit, name="audit", help="The audit log.")
    app.add_typer(api_keys.commands(), name="apikey", help="API keys.")

    @app.command()
    def serve(config: Config = default_config) -> None:
        """Start the service, until SIGTERM or Ctrl-C."""
        with told_to_people():
            settings = settings_module.load(config)
            if settings.tls.minimum_version is not floor.established():
                floor.start_again(settings.tls.minimum_version)
            configure_logging(settings)
            uvloop.run(serve_until_stopped(load_application(application_module), settings))

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
            asked = calling.Ask(calling.find(methods, method), tuple(data or ()), target or settings.listen.address)
            sys.exit(asyncio.run(calling.call(asked, files, source)))

    @audit.command("verify")
    def audit_verify_command(
        file: Annotated[Path | None, typer.Argument(help="The log; that of the settings if not given.")] = None,
        config: Config = default_config,
    ) -> None:
        """Check that no record was changed, taken out or cut off. Exits with 1 where one was."""
        with told_to_people():
            finding = audit_verify.verify(file or settings_module.load(config).audit.file)
            if not finding.whole:
                errors.print(f"{finding.path}: NOT WHOLE: {finding.problem}", style="red", markup=False)
                raise typer.Exit(1)
            codes = ", ".join(f"{code} {count}" for code, count in finding.codes.most_common())
            typer.echo(f"{finding.path}: whole, {finding.records} calls ({codes or 'none'}) in {finding.lines} lines")

    return app


async def serve_until_stopped(application: Application, settings: Settings) -> None:
    """Start a server and return when it has been told to stop."""
    server = Server(application, settings)
    await server.start()
    await server.serve()


def load_application(module: str) -> Application:
    """Return the `APPLICATION` of a module."""
    application = importlib.import_module(module).APPLICATION
    if not isinstance(application, Application):
        raise TypeError(f"{module}.APPLICATION is no secure_rpc.platform.Application")
    return application


def configure_logging(settings: Settings) -> None:
    """Set up the process's logs as the settings say."""
    origin = settings.service
    logging.configure(
        settings.logging.format,
        settings.logging.level,
        {
            "service": origin.name,
            "environment": origin.environment,
            "cluster": origin.cluster,
            "deployment_id": origin.deployment_id,
        },
    )
