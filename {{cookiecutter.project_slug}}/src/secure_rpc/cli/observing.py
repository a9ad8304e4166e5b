"""The commands of what is observed: rules, routes and dashboards, built from what the service promises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secure_rpc.cli.people import told_to_people
from secure_rpc.observability import building
from secure_rpc.observability.objectives import FILE, FOLDER, load

Where = Annotated[Path, typer.Option(help=f"The folder with {FILE}.")]


def commands(_application_module: str = "") -> typer.Typer:
    """Return the commands."""
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def build(folder: Where = FOLDER) -> None:
        """Build alerts, their tests, routes and dashboards anew."""
        with told_to_people():
            changed = building.write(load(folder / FILE), folder)
        for path in changed:
            typer.echo(f"{path} was written")
        if not changed:
            typer.echo(f"all is as {folder / FILE} says")

    @app.command()
    def check(folder: Where = FOLDER) -> None:
        """Tell whether they are as they would be built now. Exits with 1 where one is not."""
        with told_to_people():
            stale = building.stale(load(folder / FILE), folder)
        for path in stale:
            typer.echo(f"{path} is not what {folder / FILE} says; make observability builds it anew")
        if stale:
            raise typer.Exit(1)

    return app
