"""The commands of a service. Each is imported when it is asked for: most of a start would go to the others."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
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


class _Imported(Mapping[str, Any]):
    """All commands by their names, each imported when it is taken.

    Args:
        application_module: holds the service's `APPLICATION`.
    """

    def __init__(self, application_module: str) -> None:
        self._application_module = application_module
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = load(name, self._application_module)
        return self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def build(application_module: str) -> typer.Typer:
    """Return the command line of the service whose `APPLICATION` stands in the module."""

    class Commands(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands: Any = _Imported(application_module)  # nobody adds to them

    app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
    app.callback()(_nothing_before)
    return app


def load(name: str, application_module: str) -> Any:
    """Return one of the commands, its module imported.

    Args:
        name: of the command.
        application_module: holds the service's `APPLICATION`.

    Raises:
        KeyError: there is none of that name.
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
