"""The page of errors: one class per status, and each reason that the platform gives, found in its code."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import secure_rpc
from grpc import StatusCode
from secure_rpc import errors, settings

from tools.docs_site.reference.tables import code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = Path(secure_rpc.__file__).parent
STATUSES = {
    name: each
    for name, each in vars(errors).items()
    if inspect.isclass(each) and issubclass(each, errors.StatusError) and each is not errors.StatusError
}
ROOMS = ("identity", "shedding", "stages", "state")
NAME = re.compile(r"[A-Z]+(?:_[A-Z]+)+")
FINER = """## Reasons that are chosen

What is wrong with a token, a proof, a certificate or an encrypted field; which limit of load it was. Of tokens, fields
and load the caller is told as well; of proofs and of what is revoked, log and audit alone say it, and the caller has
a coarser name.
"""
INTRODUCTION = """# Errors and reasons

A call that does not end well has a status, a message for the developer of the client, and mostly a reason: a stable
name, sent as `ErrorInfo.reason` of a [`google.rpc.Status`](https://google.aip.dev/193). Programs go by status and
reason, never by the message. Made from the code.
"""


@dataclass(frozen=True, slots=True)
class Given:
    """Where the platform gives a reason.

    Attributes:
        reason: what the caller is told.
        status: the name of the status.
        message: for the developer of the client; `...` stands for what differs.
        recorded: what log and audit say instead; empty for the same.
        module: where.

    """

    reason: str
    status: str
    message: str
    recorded: str
    module: str


def given() -> Iterator[Given]:
    """Yield each place in the code where a status is made with a reason."""
    for file in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (found := read(node, file)):
                yield found


def read(node: ast.Call, file: Path) -> Given | None:
    """Return what a call of one of the classes says; None where it is none, or gives no reason that stands there."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    arguments = {keyword.arg: keyword.value for keyword in node.keywords}
    reason = text_of(arguments.get("reason"))
    if name not in STATUSES or not reason or "..." in reason:
        return None
    status = STATUSES[name]
    message = text_of(node.args[0]) if node.args else status.default_message
    module = file.relative_to(CODE.parent).as_posix()
    return Given(reason, status.code.name, message, text_of(arguments.get("recorded_reason")), module)


def text_of(node: ast.expr | None) -> str:
    """Return the text of an expression, `...` for each part that is not known before."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    return "..."


def finer() -> Iterator[tuple[str, str]]:
    """Yield the names that the rooms that refuse choose from, with their modules: of what is given by a choice."""
    for file in sorted([*CODE.glob("*.py"), *(each for room in ROOMS for each in (CODE / room).rglob("*.py"))]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                yield node.value, file.relative_to(CODE.parent).as_posix()


def page() -> str:
    """Return the page."""
    classes = [
        (code(f"errors.{name}"), f"{each.code.name} ({each.code.value[0]})", each.default_message, each.__doc__ or "")
        for name, each in STATUSES.items()
    ]
    fixed = {each.reason for each in given()}
    others: dict[str, list[str]] = {}
    for name, module in sorted({*finer()}):
        if name not in fixed and name not in StatusCode.__members__ and name not in settings.__all__:
            others.setdefault(name, []).append(module)
    reasons = sorted({(each.reason, each.status, each.message, each.module) for each in given()})
    return "\n".join([
        INTRODUCTION,
        "## Statuses\n",
        table(("class", "status", "message by default", "meaning"), classes),
        "## Reasons of the platform\n",
        table(
            ("reason", "status", "message", "given in"),
            ((code(reason), status, message, code(module)) for reason, status, message, module in reasons),
        ),
        FINER,
        table(("reason", "given in"), ((code(name), ", ".join(map(code, each))) for name, each in others.items())),
        "What ends a call at which stage stands in [the chain](../service/docs/chain.md).\n",
    ])  # fmt: skip
