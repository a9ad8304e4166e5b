"""The stories that the template itself tells: what the page of a service names is there, and says who is in it."""

from __future__ import annotations

import ast
import re

from tools.bake import INNER, ROOT

PAGE = ROOT / INNER / "docs" / "scenarios.md"
PARTS = ("Who is there: ", "What they want: ", "What may go wrong: ")


def test_a_story_that_the_page_names_is_there_and_says_what_it_is_about() -> None:
    named = re.findall(r"^Story: `(.*?)` of the template", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/test_scenario_*.py")]
    for path in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        told = ast.get_docstring(tree) or ""
        assert [part for part in PARTS if part not in told] == []
        functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
        assert any(name.startswith("test_") for name in functions)
