"""The commands that keep keyrings, which encrypt sensitive fields: new, rotate, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secure_rpc.cli.people import Config, default_config, told_to_people
from secure_rpc.confidential import KeyringFile, load, new_key, save
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.settings import load as load_settings

File = Annotated[Path | None, typer.Option(help="The keyring; that of the settings if not given.")]


def commands(_application_module: str = "") -> typer.Typer:
    """Return the commands."""
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def new(config: Config = default_config, file: File = None) -> None:
        """Make a keyring with one key. One that is there is left alone."""
        with told_to_people():
            path = _path(file, config)
            if path.exists():
                raise ConfigurationError(f"{path}: is there already; add a key to it by `keyring rotate`")
            key_id, key = new_key()
            save(path, KeyringFile(active=key_id, keys={key_id: key}))
            typer.echo(f"{path}: key {key_id} is active")

    @app.command()
    def rotate(
        config: Config = default_config,
        file: File = None,
        activate: Annotated[bool, typer.Option("--activate", help="Have the newest key encrypt from now on.")] = False,  # noqa: FBT002
        drop: Annotated[str, typer.Option(help="Remove a key, by its id: what it encrypted is lost.")] = "",
    ) -> None:
        """Add a key that only decrypts. When all have it: --activate. When nothing of the old one is left: --drop."""
        with told_to_people():
            path = _path(file, config)
            keyring = load(path)
            keys, active = dict(keyring.keys), keyring.active
            if drop:
                if drop not in keys or drop == active:
                    others = [key_id for key_id in keys if key_id != active]
                    raise ConfigurationError(f'{path}: "{drop}" cannot be dropped; {did_you_mean(drop, others)}')
                del keys[drop]
            elif activate:
                active = list(keys)[-1]
            else:
                key_id, key = new_key()
                keys[key_id] = key
            save(path, KeyringFile(active=active, keys=keys))
            _show(KeyringFile(active=active, keys=keys))

    @app.command("list")
    def list_keys(config: Config = default_config, file: File = None) -> None:
        """Print the ids of the keys, oldest first; never a key."""
        with told_to_people():
            _show(load(_path(file, config)))

    return app


def _show(keyring: KeyringFile) -> None:
    for key_id in keyring.keys:
        typer.echo(f"{key_id}  {'encrypts and decrypts' if key_id == keyring.active else 'decrypts'}")


def _path(file: Path | None, config: Path) -> Path:
    path = file or load_settings(config).integrity.keyring_file
    if path is None:
        raise ConfigurationError("integrity.keyring_file: is not set; set it, or give --file")
    return path
