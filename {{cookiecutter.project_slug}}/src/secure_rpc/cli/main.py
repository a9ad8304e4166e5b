"""The commands of a service. Each is imported when it is asked for: most of a start would go to the others."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group


class Entry(NamedTuple):
    """Where a command, or a group of them, comes from."""

    module: str  # of this package
    help: str = ""  # of a group


COMMANDS = {
    "doctor": Entry("doctor"),
    "load": Entry("load"),
    "serve": Entry("serving"),
    "call": Entry("calling_command"),
    "pki": Entry("pki", "Certificates."),
    "token": Entry("credentials", "Access tokens."),
    "audit": Entry("audit", "The audit log."),
    "apikey": Entry("api_keys", "API keys."),
    "keyring": Entry("keyrings", "Keys that encrypt sensitive fields."),
    "policy": Entry("policies", "The policy: who may call what."),
    "drill": Entry("drill", "What is claimed of the service, shown on it."),
    "edge": Entry("edging", "The Envoy before the service."),
    "observe": Entry("observing", "Alerts and dashboards, built from what is promised."),
}


def build(application_module: str) -> typer.Typer:
    """Return the command line of the service whose `APPLICATION` stands in the module."""

    class Commands(TyperGroup):
        """Import a command when it is asked for, and all of them to list them."""

        def list_commands(self, _ctx: Any) -> list[str]:
            return [*COMMANDS]

        def get_command(self, _ctx: Any, cmd_name: str) -> Any:
            if cmd_name in COMMANDS and cmd_name not in self.commands:
                self.commands[cmd_name] = load(cmd_name, application_module)
            return self.commands.get(cmd_name)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args[0] not in COMMANDS:
                for name in COMMANDS:  # those that may have been meant
                    self.get_command(ctx, name)
            return super().resolve_command(ctx, args)

    app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
    app.callback()(_nothing_before)
    return app


def load(name: str, application_module: str) -> Any:
    """Return one of the commands, its module imported.

    Args:
        name: of the command.
        application_module: holds the service's `APPLICATION`.
    """
    entry, app = COMMANDS[name], typer.Typer()
    module: Any = importlib.import_module(f"secure_rpc.cli.{entry.module}")
    if entry.help:
        app.add_typer(module.commands(application_module), name=name, help=entry.help)
    else:
        module.add(app, application_module)
    return get_group(app).commands[name]


def _nothing_before() -> None:
    pass
