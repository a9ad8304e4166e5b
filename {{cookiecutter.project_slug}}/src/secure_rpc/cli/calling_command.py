"""The command that calls the running service."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from secure_rpc import settings as settings_module
from secure_rpc.cli import calling
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.methods import methods_of
from secure_rpc.cli.people import CallersFile, Config, Folder, default_callers, default_config, told_to_people
from secure_rpc.dev import setup as development
from secure_rpc.dev.issuer import find_caller, load_callers


def add(app: typer.Typer, application_module: str) -> None:
    """Add the command, for the service whose `APPLICATION` stands in the module."""

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
            methods = methods_of(load_application(application_module))
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
