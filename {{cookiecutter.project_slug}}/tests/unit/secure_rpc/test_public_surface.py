"""What a service may import is there, says what it is for, has types, and is what the page says."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_rpc import surface

NAMES = [(module, name) for module, names in surface.SURFACE.items() for name in names]
IDS = [f"{module}.{name}" for module, name in NAMES]
FIXTURES = "testing.plugin"  # a plugin of pytest: what it has are fixtures, and nobody imports them


def functions(node: object, name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield what can be called of a definition, with its name."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield name, node
    if isinstance(node, ast.ClassDef):
        yield from ((f"{name}.{each.name}", each) for each in surface.members(node))
        made = (each for each in node.body if isinstance(each, ast.FunctionDef))
        yield from ((f"{name}.__init__", each) for each in made if each.name == "__init__")


def untyped(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the arguments that have no type, and "return"."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    missing = [each.arg for each in arguments if each is not None and each.annotation is None]
    return [*(name for name in missing if name not in {"self", "cls"}), *(["return"] if node.returns is None else [])]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=IDS)
def test_each_name_is_there_and_is_public(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"{surface.NAME}.{module}"), name)
    assert module == FIXTURES or name in surface.exported(module)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=IDS)
def test_each_name_says_what_it_is_for_and_has_types(module: str, name: str) -> None:
    node = surface.find(module, name)
    assert node is not None
    assert surface.ALIASES.get(f"{module}.{name}") or surface.says(node)
    for full_name, function in functions(node, name):
        assert not untyped(function), full_name
        assert function.name == "__init__" or surface.says(function), full_name


def test_an_alias_that_is_explained_is_on_the_list() -> None:
    assert {*surface.ALIASES} <= {*IDS}


def test_what_is_not_there_is_found() -> None:
    assert surface.find("errors", "Elsewhere") is None
    assert surface.find("client_streams", "Elsewhere") is None
    assert untyped(ast.parse("def f(self, a, *, b: int): ...").body[0]) == ["a", "return"]  # type: ignore[arg-type]


def test_each_module_says_what_it_is_for() -> None:
    assert all(surface.says_module(module) for module in surface.SURFACE)


def test_the_page_is_what_is_built() -> None:
    assert surface.PAGE.read_text(encoding="utf-8") == surface.built(), "in the template: make surface"


def test_types_are_shipped() -> None:
    assert (surface.ROOM / "py.typed").is_file()
    assert '"py.typed"' in Path("pyproject.toml").read_text(encoding="utf-8")
