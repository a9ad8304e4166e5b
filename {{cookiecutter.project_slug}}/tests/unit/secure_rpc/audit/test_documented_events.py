"""The page on the audit names each event that the code can write, and no other; of a call, each field."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import secure_rpc
from secure_rpc.audit import checkpoints, segments
from secure_rpc.audit.record import CALL, content_of
from secure_rpc.observing import CallRecord

PAGE = Path("docs/audit.md")
CODE = Path(secure_rpc.__file__).parent
WRITERS = [*sorted((CODE / "audit").glob("*.py")), CODE / "trust.py", CODE / "platform.py"]
ENVELOPE = {"chain", "seq", "prev", "time", "event"}  # of every line
NAME = re.compile(r"`([a-z_]+)`")


def rows() -> dict[str, str]:
    """Return what the table of the page says, by event."""
    table = PAGE.read_text(encoding="utf-8").partition("| event | what it says |\n|---|---|\n")[2].partition("\n\n")[0]
    lines = [line.strip("| ").partition(" | ") for line in table.splitlines()]
    return {event: said for events, _, said in lines for event in NAME.findall(events)}


def constants(node: ast.AST | None) -> Iterator[str]:
    """Return the texts that an expression can become, where they stand in it: `a`, `a if x else b`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def values_of(name: str, function: ast.AST) -> Iterator[str]:
    """Return the texts that a variable of a function is given, also by a loop over rows of them."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            yield from constants(node.value)
        if isinstance(node, ast.For) and isinstance(node.target, ast.Tuple) and isinstance(node.iter, ast.Tuple):
            names = [each.id if isinstance(each, ast.Name) else "" for each in node.target.elts]
            if name in names:
                for row in node.iter.elts:
                    assert isinstance(row, ast.Tuple)
                    yield from constants(row.elts[names.index(name)])


def written() -> set[str]:
    """Return the names of all events that the code writes."""
    found = {CALL, checkpoints.CHECKPOINT, segments.STARTED, segments.CLOSED, segments.RETIRED}
    for path in WRITERS:
        functions = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for function in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Dict):
                    pairs = zip(node.keys, node.values, strict=True)
                    found |= {text for key, value in pairs if "event" in constants(key) for text in constants(value)}
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                    continue
                first = node.args[0]
                if node.func.attr in {"note", "_note"}:
                    found |= set(constants(first))
                    found |= set(values_of(first.id, function)) if isinstance(first, ast.Name) else set()
                if node.func.attr == "reloaded":
                    found |= {f"{what}_reloaded" for what in constants(first)}
    return found


def test_the_page_names_each_event_and_no_other() -> None:
    assert len(written()) > 20
    assert set(rows()) == written()


def test_the_page_names_each_field_of_a_call_and_no_other(record: Callable[..., CallRecord]) -> None:
    said = set(NAME.findall(rows()[CALL])) - {"audit_fields", "correlation"}  # of the proto, and of the caller
    assert said == set(content_of(record())) - ENVELOPE
