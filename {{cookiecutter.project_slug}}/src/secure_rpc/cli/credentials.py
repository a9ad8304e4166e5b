"""The commands about tokens: token new, token rotate-key, token inspect, token jwks."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from secure_rpc import settings as settings_module
from secure_rpc.cli import inspecting
from secure_rpc.cli.people import CallersFile, Config, Folder, default_callers, default_config, told_to_people
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev import setup as development
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.exchange import jwks


def commands(_application_module: str = "") -> typer.Typer:
    """Return the commands about tokens."""
    token = typer.Typer(no_args_is_help=True)

    @token.command("new")
    def token_new(
        caller: Annotated[str, typer.Argument(help="Who calls.")],
        config: Config = default_config,
        callers: CallersFile = default_callers,
        folder: Folder = development.FOLDER,
    ) -> None:
        """Print a token of the development issuer, for clients that are not ours."""
        with told_to_people():
            issuer = development.token_issuer(settings_module.load(config), development.DevelopmentFiles(folder))
            typer.echo(issuer.token(find_caller(load_callers(callers), caller)))

    @token.command("rotate-key")
    def token_rotate_key(config: Config = default_config, folder: Folder = development.FOLDER) -> None:
        """Give the development issuer a new key: what the old one signed is refused as soon as services notice."""
        with told_to_people():
            made = development.replace_token_key(settings_module.load(config), development.DevelopmentFiles(folder))
            typer.echo(f"{made.issuer} signs by the key {made.key_id}; the key before is in no JWKS any more")

    @token.command("inspect")
    def token_inspect(config: Config = default_config) -> None:
        """Explain the token on standard input, held against the settings; exits with 1 if it would be refused."""
        with told_to_people():
            if not asyncio.run(inspecting.inspect(settings_module.load(config), inspecting.read_token())):
                raise typer.Exit(1)

    @token.command("jwks")
    def token_jwks(config: Config = default_config) -> None:
        """Print the public key of the tokens given in exchange, for those who verify them."""
        with told_to_people():
            exchange = settings_module.load(config).authentication.exchange
            if exchange is None:
                raise ConfigurationError("authentication.exchange: is not set; no tokens are given in exchange")
            typer.echo(orjson.dumps(jwks(exchange.key_file), option=orjson.OPT_INDENT_2).decode())

    return token
