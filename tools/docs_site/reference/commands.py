"""The page of all commands: what each says with `--help`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from secure_rpc.cli.main import build

from tools.docs_site.reference.settings import kind
from tools.docs_site.reference.tables import code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """# Commands

Made from the commands themselves; each shows the same with `--help`. Where `--config` stands, `SECURE_RPC_CONFIG` names
the file as well.
"""


def page() -> str:
    """Return the page."""
    service = Path.cwd().name
    package = service.replace("-", "_")
    sys.path.insert(0, "src")
    root: Any = typer.main.get_command(build(f"{package}.app"))
    return "\n".join([INTRODUCTION, *sections(root, service)])


def sections(command: Any, name: str) -> Iterator[str]:
    """Yield what is said of a command and of those below it, in the order in which they are shown."""
    below = getattr(command, "commands", {})
    if below:
        if name.count(" "):
            yield f"## {name}\n\n{help_of(command)}\n"
        for each, inner in below.items():
            if not inner.hidden:
                yield from sections(inner, f"{name} {each}")
        return
    level = "###" if name.count(" ") > 1 else "##"
    yield f"{level} {name}\n\n{help_of(command)}\n"
    given = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    if given:
        yield table(("argument", "type", "default", "meaning"), map(parameter_row, given))


def help_of(command: Any) -> str:
    """Return what a command says of itself."""
    return (command.help or "").replace("\n", " ").strip()


def parameter_row(parameter: Any) -> tuple[str, ...]:
    """Return a row: how a parameter is called, its type, default and meaning."""
    is_argument = parameter.param_type_name == "argument"
    name = code(parameter.name) if is_argument else ", ".join(map(code, [*parameter.opts, *parameter.secondary_opts]))
    is_switch = not is_argument and parameter.is_flag
    default = parameter.default
    if parameter.required:
        shown = "required"
    elif default in (None, "", (), []) or callable(default) or is_switch:
        shown = ""
    else:
        shown = code(getattr(default, "value", default))
    meaning = (getattr(parameter, "help", "") or "").replace("|", "&#124;")
    return name, "switch" if is_switch else kind(parameter.type_descriptor.annotation), shown, meaning
