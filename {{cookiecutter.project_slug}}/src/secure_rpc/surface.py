"""What a service may import from the platform: these modules and names, and no other. Standard library only.

Everything else may change with any release. docs/public-surface.md is built from this list and from the sources.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

ROOM = Path(__file__).parent
PAGE = ROOM.parents[1] / "docs" / "public-surface.md"
NAME = "secure_rpc"
STATUSES = (
    "Cancelled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied Unauthenticated"
    " ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss"
)
SURFACE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "errors": ("StatusError", *STATUSES.split(), "of", "bad_request", "retry_after", "quota_failure"),
        "call": ("Call", "Check", "Contract", "Method", "Outcome", "Peer", "Principal", "current_call"),
        "chain": ("Middleware", "Proceed", "Stage"),
        "observing": ("CallRecord", "NotedCall", "Observer"),
        "platform": ("Application", "Platform"),
        "settings": ("Settings", "load"),
        "cli": ("run",),
        "client": ("connect", "connect_plaintext", "new_idempotency_key"),
        "client_retry": ("wait_seconds", "when_allowed"),
        "client_streams": (
            "KeptStream",
            "Persistence",
            "Position",
            "SequenceError",
            "SequenceGap",
            "SequenceReset",
            "Timing",
            "kept_call",
        ),
        "token_sources": (
            "Fetched",
            "FileToken",
            "Refreshing",
            "TokenEndpoint",
            "TokenSource",
            "TokenUnavailable",
            "client_credentials",
            "token_exchange",
        ),
        "testing.service": ("RunningService", "run_service"),
        "testing.plugin": ("client_as", "service"),
        "cli.ground": ("Ground",),
    }
)
# what has no place for a docstring of its own
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "call.Check": "Sees one message; raises a StatusError to refuse it.",
        "chain.Middleware": "Surrounds a call: does something before and after it goes on.",
        "chain.Proceed": "Goes on with a call, and returns when it is over.",
        "observing.NotedCall": "A call that has ended: a plain tuple, in the order of `CallRecord`.",
        "token_sources.TokenSource": "Returns the token for an attempt.",
    }
)
HEAD = """# The public surface

What your code, and your tests, may import from `secure_rpc`. These names stay, with what they take and return, until a
major release of the template says otherwise; before that they are deprecated for one minor release at least, with a
warning that names what to use instead. Everything else, other modules and other names of these, may change with any
release.

As stable as these names are the options of `proto/secure_rpc/`, the settings, the commands with their options and exit
codes, the names and labels of metrics, and the fields of log lines and audit records.

This page is built from `src/secure_rpc/surface.py` and the sources, and a test holds it against them. The package has
types for all of it (`py.typed`).
"""
Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree_of(module: str) -> ast.Module:
    """Return the syntax of a module, by its name below the package's."""
    path = ROOM.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def find(module: str, name: str) -> Definition | ast.AnnAssign | ast.Assign | None:
    """Return where a name is defined, in the module or in the one that it comes from; None where there is none.

    Args:
        module: such as "client_streams".
        name: such as "KeptStream".
    """
    for node in tree_of(module).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                return node
            case ast.AnnAssign(target=ast.Name(id=found)) | ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                return node
            case ast.ImportFrom(module=str(source), names=names) if source.startswith(f"{NAME}."):
                for alias in names:
                    if name == (alias.asname or alias.name):
                        return find(source.removeprefix(f"{NAME}."), alias.name)
    return None


def exported(module: str) -> frozenset[str]:
    """Return what a module says is public: its `__all__`."""
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def members(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public methods and properties of a class."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith("_"):
            yield each


def arguments_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return what a function takes, without `self`."""
    arguments = ast.unparse(node.args).replace("'", '"')
    for first in ("self", "cls"):
        arguments = "" if arguments == first else arguments.removeprefix(f"{first}, ")
    return arguments


def constructor(node: ast.ClassDef) -> str:
    """Return what a class is made from, as far as it says so itself."""
    made_of_fields = any("dataclass" in ast.unparse(each) for each in node.decorator_list)
    made_of_fields |= any(ast.unparse(base) == "NamedTuple" for base in node.bases)
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return f"({arguments_of(each)})"
    fields = [ast.unparse(each) for each in node.body if isinstance(each, ast.AnnAssign)]
    shown = [field.replace("'", '"') for field in fields if not field.startswith("_") and "ClassVar" not in field]
    return f"({', '.join(shown)})" if made_of_fields else ""


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str = "") -> str:
    """Return what a function takes and returns.

    Args:
        node: the function.
        owner: the class that has it, with a dot.
    """
    if any(ast.unparse(each) in {"property", "cached_property"} for each in node.decorator_list):
        return f"{owner}{node.name}: {_text(node.returns)}"
    kind = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{kind}{owner}{node.name}({arguments_of(node)}) -> {_text(node.returns)}"


def says(node: ast.AST | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    text = ast.get_docstring(node) if isinstance(node, Definition) else None
    return " ".join((text or "").split("\n\n", 1)[0].split())


def lines() -> Iterator[str]:
    """Yield the page, line by line."""
    yield HEAD
    for module, names in SURFACE.items():
        yield f"## `{NAME}.{module}`\n"
        yield f"{says_module(module)}\n"
        yield "| name | what it is |"
        yield "|---|---|"
        for name in names:
            node = find(module, name)
            about = ALIASES.get(f"{module}.{name}") or says(node)
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield _row(signature(node), about)
                case ast.ClassDef():
                    yield _row(f"class {name}{constructor(node)}", about)
                    yield from (_row(signature(each, f"{name}."), says(each)) for each in members(node))
                case ast.AnnAssign() | ast.Assign():
                    yield _row(f"{name} = {_text(node.value)}", about)
        yield ""


def says_module(module: str) -> str:
    """Return what a module is for."""
    return " ".join((ast.get_docstring(tree_of(module)) or "").split("\n\n", 1)[0].split())


def built() -> str:
    """Return the page."""
    return "\n".join(lines()).rstrip("\n") + "\n"


def _row(code: str, about: str) -> str:
    code, about = (text.replace("|", "\\|") for text in (code, about))
    return f"| `{code}` | {about} |"


def _text(node: ast.expr | None) -> str:
    return "" if node is None else ast.unparse(node).replace("'", "").replace('"', "")


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        PAGE.write_text(built(), encoding="utf-8")
    else:
        sys.stdout.write(built())
