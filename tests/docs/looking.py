"""Looks at blocks of pages with the code of the service in this folder: a program, its question and answer JSON.

The question is a list of [kind, place, text], the answer a list of what is wrong, each with its place.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml
from secure_rpc import settings
from secure_rpc.cli.main import build
from secure_rpc.identity import deny_list
from secure_rpc.policy import cases, document, keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMENT = re.compile(r"(^|\s)#(?![.{]).*$")
PREFIX = re.compile(r"^(?:\$ )?(?:TOKEN=\$\()?(?:kubectl .*? -- )?(?:\.venv/bin/)?")
ROLES: dict[str, dict[str, list[str]]] = {name: {"permissions": []} for name in ("reader", "writer")}


def commands(text: str) -> Iterator[str]:
    """Yield what is wrong with the commands of a block: targets and options that there are not."""
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    group: Any = typer.main.get_command(build(f"{service().replace('-', '_')}.app"))
    for line in text.replace("\\\n", " ").splitlines():
        command = PREFIX.sub("", COMMENT.sub("", line).strip())
        command = re.split(r"\s(?:\||\|\||&&|<|>)\s|\)$", f"{command} ")[0].strip()
        if command.startswith("make "):
            target = command.split()[1]
            if target not in targets:
                yield f"make has no target {target}"
        elif command.startswith(f"{service()} "):
            yield from parsed(group, shlex.split(command)[1:])


def parsed(group: Any, arguments: list[str]) -> Iterator[str]:
    """Yield why arguments are none that the command line takes."""
    name, *rest = arguments
    command = group.commands.get(name)
    if command is None:
        yield f"there is no command {name}"
    elif hasattr(command, "commands"):
        yield from parsed(command, rest)
    else:
        known = {option for each in command.params for option in [*each.opts, *each.secondary_opts]}
        yield from (
            f"{name} has no {each}" for each in rest if each.startswith("--") and each.split("=")[0] not in known
        )


def service() -> str:
    """Return the name of the service's command."""
    return Path.cwd().name


def merged(below: Any, above: Any) -> Any:
    """Return settings with others over them."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def written(data: Any) -> Path:
    """Return a file that holds some data."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False, encoding="utf-8") as file:
        file.write(data if isinstance(data, str) else yaml.safe_dump(data))
    return Path(file.name)


def as_settings(text: str) -> None:
    """Read a block as part of the settings."""
    whole = yaml.safe_load(Path("config/dev.yaml").read_text(encoding="utf-8"))
    settings.load(written(merged(whole, yaml.safe_load(text))))


def as_policy(text: str) -> None:
    """Read a block as a policy, or as one of its bindings."""
    read = yaml.safe_load(text)
    given: dict[str, Any] = {"bindings": read} if isinstance(read, list) else read
    document.load(written({"version": 1, "roles": ROLES, "bindings": []} | given))


READERS: dict[str, Callable[[str], object]] = {
    "settings": as_settings,
    "policy": as_policy,
    "cases": lambda text: cases.load(written(text)),
    "rollout": lambda text: keeper.load_rollout(written(text)),
    "deny-list": lambda text: deny_list.read(written(text)),
}


def wrong(kind: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a block."""
    if kind == "commands":
        yield from commands(text)
        return
    try:
        READERS[kind](text)
    except Exception as error:  # noqa: BLE001  # whatever it is: it is told
        yield f"{type(error).__name__}: {error}"


def main() -> None:
    """Answer."""
    sys.path.insert(0, "src")
    found = [f"{place}: {each}" for kind, place, text in json.load(sys.stdin) for each in wrong(kind, text)]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
