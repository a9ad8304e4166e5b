"""The pictures of the documentation show the dashboards of now: each panel, by its title and by what it asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.observing.drawing import PANELS, Json, noted, panels_of, said_by
from tests.observing.pictures import DASHBOARDS, dashboard

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 150_000
REMEDY = "the picture is of another dashboard: make docs-pictures"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_panel_of_a_dashboard_is_in_its_picture(service: Path, name: str) -> None:
    picture, content = service / "docs" / "pictures" / f"{name}.png", dashboard(service, name)
    said = said_by(picture)
    assert json.loads(said[PANELS]) == [panel["title"] for panel in panels_of(content)], REMEDY
    assert said == noted(content), REMEDY
    assert picture.stat().st_size < MOST_BYTES


def test_a_panel_that_is_added_changed_or_moved_is_missed(service: Path) -> None:
    content = dashboard(service, "on-call")
    before = noted(content)
    changes: list[Json] = [{"title": "another"}, {"gridPos": {"x": 0, "y": 99, "w": 1, "h": 1}}, {"targets": []}]
    for change in changes:
        panels = [*content["panels"][:-1], {**content["panels"][-1], **change}]
        assert noted({**content, "panels": panels}) != before
    assert noted({**content, "panels": [*content["panels"], content["panels"][-1]]})[PANELS] != before[PANELS]


def test_each_picture_is_shown_by_the_page_and_says_to_those_who_cannot_see_it_what_it_is(service: Path) -> None:
    page = (service / "docs" / "observability.md").read_text(encoding="utf-8")
    pictures = {path.stem for path in (service / "docs" / "pictures").iterdir()}
    assert pictures == set(DASHBOARDS)
    for name in DASHBOARDS:
        assert f"](pictures/{name}.png)" in page
    assert "![](" not in page
