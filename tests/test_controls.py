"""The tests of the template that the controls of a service name exist, and their page is built from what is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tools import controls
from tools.bake import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NAMED = sorted({test for control in controls.CONTROLS for test in control.template_tests})


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the functions that a file defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_there(test: str) -> bool:
    """Tell whether a test, `file::name`, exists."""
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in functions_of(ROOT / path)


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_a_control_names_exists(test: str) -> None:
    assert is_there(test)


def test_a_test_that_there_is_not_is_found() -> None:
    assert not is_there(f"{NAMED[0]}_gone")
    assert not is_there("tests/test_gone.py::test_it")


def test_the_page_is_what_is_built() -> None:
    assert controls.PAGE.read_text(encoding="utf-8") == controls.built(), "make controls"


def test_the_page_holds_no_marks_of_a_template() -> None:
    assert not re.search(r"\{\{|\}\}|\{%|%\}|\{#|#\}", controls.built())
