"""The page on scenarios and the stories belong together: each is told, is there, and takes settings that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secure_rpc.configuration import read_yaml
from secure_rpc.policy.document import Policy
from secure_rpc.settings import Settings
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.testing.service import CONFIG, merged

PAGE = Path("docs/scenarios.md")
FOLDER = Path("tests/scenarios")
SCENARIOS = 12
PARTS = ("Who ", "What they want: ", "What may go wrong: ")
ROLES: dict[str, Any] = {name: {"permissions": []} for name in ("reader", "writer")}


def sections() -> dict[str, str]:
    """Return the text of each scenario on the page, by its title."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SECTIONS = sections()


def stories_named(text: str) -> list[str]:
    """Return the files in which the page says that a story is told; those of the template as they are written."""
    return re.findall(r"^Story: (?:\[.*\]\(\.\./(.*?)\)|`.*?` of the template)", text, re.MULTILINE)


def test_the_page_tells_all_scenarios_and_begins_with_a_list_of_them() -> None:
    head = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    assert len(SECTIONS) == SCENARIOS
    assert re.findall(r"^\| \[(.*?)\]", head, re.MULTILINE) == list(SECTIONS)


def test_each_story_is_on_the_page_and_each_on_the_page_is_there() -> None:
    named = [story for text in SECTIONS.values() for story in stories_named(text)]
    assert len(named) == SCENARIOS
    there = {path.as_posix() for path in FOLDER.glob("test_*.py")} - {(FOLDER / "test_page.py").as_posix()}
    assert {story for story in named if story} == there


@pytest.mark.parametrize("path", sorted({*FOLDER.glob("test_*.py")} - {FOLDER / "test_page.py"}), ids=lambda p: p.stem)
def test_a_story_says_who_is_there_what_they_want_and_what_may_go_wrong(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = ast.get_docstring(tree) or ""
    assert [part for part in PARTS if not re.search(f"^{part}", told, re.MULTILINE)] == []
    tests = [
        each.name for each in tree.body if isinstance(each, ast.AsyncFunctionDef) and each.name.startswith("test_")
    ]
    assert tests


@pytest.mark.parametrize("title", SECTIONS)
def test_the_settings_and_policies_on_the_page_are_taken(title: str) -> None:
    for fragment in re.findall(r"```yaml\n(.*?)```", SECTIONS[title], re.DOTALL):
        said = yaml.safe_load(fragment)
        if "bindings" in said:
            policy = Policy.model_validate({"version": 1, "roles": ROLES, **said})
            assert {binding.role for binding in policy.bindings} <= set(ROLES)
        else:
            Settings(**merged(read_yaml(CONFIG).data, said))  # refuses what it does not know


def test_the_metrics_and_runbooks_on_the_page_are_there() -> None:
    rendered = Metrics().render().decode()
    families = text_string_to_metric_families(rendered)  # type: ignore[no-untyped-call]
    known = {each.name for each in families}
    for title, text in SECTIONS.items():
        named = set(re.findall(r"`((?:secure_rpc|grpc_server)_[a-z_]+)", text))
        assert {name for name in named if name.removesuffix("_total") not in known} == set(), title
        assert named, title
        for runbook in re.findall(r"\]\(\.\./(runbooks/.*?)\)", text):
            assert Path(runbook).is_file(), title
