"""The commands that keep API keys: new, revoke, list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from secure_rpc.cli.people import Config, default_config, told_to_people
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.identity.api_key import ApiKey, load, new_key, save
from secure_rpc.settings import load as load_settings

out = Console(highlight=False, soft_wrap=True)

File = Annotated[Path | None, typer.Option(help="The file of keys; that of the settings if not given.")]


def commands(_application_module: str = "") -> typer.Typer:
    """Return the commands."""
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def new(
        subject: Annotated[str, typer.Argument(help="Whose it is. Two keys of one subject are both valid.")],
        config: Config = default_config,
        file: File = None,
        days: Annotated[int, typer.Option(help="How long it lasts.", min=1, max=3650)] = 90,
        tenant: Annotated[list[str] | None, typer.Option(help="Whose data it is for; several can be given.")] = None,
        group: Annotated[list[str] | None, typer.Option(help="A group of the policy; several can be given.")] = None,
    ) -> None:
        """Make a key. It is printed once, and cannot be had again."""
        with told_to_people():
            path = _path(file, config)
            keys = load(path) if path.exists() else {}
            expires = datetime.now(UTC) + timedelta(days=days)
            text, entry = new_key(subject, expires, tuple(tenant or ()), tuple(group or ()))
            save(path, {**keys, text.partition(".")[0]: entry})
            typer.echo(text)

    @app.command()
    def revoke(
        key_id: Annotated[str, typer.Argument(help="What stands before the dot.")],
        config: Config = default_config,
        file: File = None,
    ) -> None:
        """Take a key back; running services notice within two seconds."""
        with told_to_people():
            path = _path(file, config)
            keys = load(path)
            if key_id not in keys:
                raise ConfigurationError(f'{path}: there is no key "{key_id}"; {did_you_mean(key_id, keys)}')
            save(path, {name: key for name, key in keys.items() if name != key_id})
            typer.echo(f"{key_id} of {keys[key_id].subject} is revoked")

    @app.command("list")
    def list_keys(config: Config = default_config, file: File = None) -> None:
        """Print the keys there are; never a secret, for none is kept."""
        with told_to_people():
            table = Table("id", "subject", "tenants", "groups", "expires")
            for key_id, key in sorted(load(_path(file, config)).items(), key=lambda item: item[1].expires):
                cells = (key_id, key.subject, ", ".join(key.tenants), ", ".join(key.groups), _when(key))
                table.add_row(*map(escape, cells))
            out.print(table)

    return app


def _when(key: ApiKey) -> str:
    text = f"{key.expires:%Y-%m-%d %H:%M} UTC"
    return f"{text}, expired" if key.expires <= datetime.now(UTC) else text


def _path(file: Path | None, config: Path) -> Path:
    path = file or load_settings(config).authentication.api_keys_file
    if path is None:
        raise ConfigurationError("authentication.api_keys_file: is not set; set it, or give --file")
    return path
