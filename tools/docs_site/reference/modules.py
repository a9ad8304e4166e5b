"""The page of what a team's own code may import of the platform: names, signatures, and what their docstrings say."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any

from secure_rpc.surface import ALIASES, SURFACE
from secure_rpc.surface import NAME as PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADING = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
ENTRY = re.compile(r"^(\*{0,2}[\w.]+): (.*)$")
INTRODUCTION = """# Python

What a team's code may import of `secure_rpc`: the names of [the public surface](../service/docs/public-surface.md),
which stay as they are until a major release, with all that their signatures and docstrings say.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *(of_module(name, names) for name, names in SURFACE.items())])


def of_module(name: str, names: tuple[str, ...]) -> str:
    """Return what these names of a module are."""
    whole = name if name.startswith(PACKAGE) else f"{PACKAGE}.{name}"
    module = importlib.import_module(whole)
    parts = [f"## {whole}\n\n{text(module).partition(chr(10) * 2)[0]}\n"]
    for each in names:
        value = getattr(module, each)
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            parts.append(f"### {name}.{each}\n\n{ALIASES.get(f'{name}.{each}', '') or text(value)}\n")
            continue
        parts.append(f"### {name}.{each}\n\n{signature(each, value)}\n\n{text(value)}")
        if inspect.isclass(value):
            parts += methods(value)
    return "\n".join(parts)


def signature(name: str, value: Any) -> str:
    """Return how it is called, in a block of code."""
    try:
        shown = str(inspect.signature(value))
    except (TypeError, ValueError):
        shown = ""
    shown = re.sub(r" object at 0x[0-9a-f]+", "", re.sub(r"(: |-> )'([^']*)'", r"\1\2", shown))
    kind = "class" if inspect.isclass(value) else "async def" if inspect.iscoroutinefunction(value) else "def"
    parts = f"{kind} {name}{shown.removesuffix(' -> None') if inspect.isclass(value) else shown}"
    if len(parts) > 100:  # noqa: PLR2004  # what fits beside the navigation
        opened, inner, closed = parts.partition("(")[0], *_split(parts)
        parts = f"{opened}(\n" + "".join(f"    {each},\n" for each in inner) + closed
    return f"```python\n{parts}\n```"


def _split(shown: str) -> tuple[list[str], str]:
    """Return the parameters of a signature, and what follows them."""
    found: list[str] = []
    depth, begun = 0, shown.index("(") + 1
    for place in range(begun, len(shown)):
        if shown[place] in "([{":
            depth += 1
        elif shown[place] in ")]}":
            if depth == 0:
                return [*found, shown[begun:place].strip()], shown[place:]
            depth -= 1
        elif shown[place] == "," and depth == 0:
            found.append(shown[begun:place].strip())
            begun = place + 1
    return found, ""


def methods(value: type) -> Iterator[str]:
    """Yield what a class's own public methods and properties are."""
    for name, each in vars(value).items():
        function = getattr(each, "fget", None) or getattr(each, "__func__", each)
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        if isinstance(each, property):
            yield f"**`{name}`** · {text(function)}"
        else:
            yield f"{signature(name, function)}\n\n{text(function)}"


def text(value: Any) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    made: list[str] = []
    inside = False
    for line in (inspect.getdoc(value) or "").splitlines():
        if heading := HEADING.match(line):
            made += ["", f"*{heading[1]}:*", ""]
            inside = True
        elif inside and (entry := ENTRY.match(line.strip())) and line.startswith("    ") and line[4] != " ":
            made.append(f"- `{entry[1]}`: {entry[2]}")
        elif inside and line.startswith(" "):
            made.append(f"    {line.strip()}")
        else:
            inside = inside and not line
            made.append(line)
    return "\n".join(made).replace("<", "&lt;") + "\n"
