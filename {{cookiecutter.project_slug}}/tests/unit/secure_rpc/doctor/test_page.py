"""The report as a page: whole, still, and readable by whoever gets it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from secure_rpc.doctor.checks import Level
from secure_rpc.doctor.ladder import ladder
from secure_rpc.doctor.page import page
from secure_rpc.doctor.style import STYLE

from support.postures import Posture

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Holds opened tags against closed ones, and keeps what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and tag not in {"line", "rect", "path"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def weak(posture: Posture) -> Posture:
    posture.set("load.adaptive", value=False)
    posture.set("audit.durability", "deferred")
    waived = [{"id": "audit-durable", "reason": "<script>alert(1)</script>", "until": datetime.now(UTC).date()}]
    posture.write("doctor.yaml", {"version": 1, "waived": waived})
    return posture


def test_the_page_loads_nothing_runs_nothing_and_shows_what_was_found(posture: Posture) -> None:
    text = page(weak(posture).report(), "..")
    reader = read(text)
    kinds = {tag for tag, _ in reader.tags}
    assert not kinds & {"script", "img", "link", "iframe", "object", "form"}
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on") or name == "src"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert links
    assert all(link and link.startswith("../docs/") for link in links)


def test_the_page_can_be_read_by_all(posture: Posture) -> None:
    report = weak(posture).report()
    reader = read(page(report))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {check["id"] for check in report.as_dict()["checks"]} <= set(ids)
    assert ("html", {"lang": "en"}) in reader.tags
    assert next(tag for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)) == "h1"
    for tag, attributes in reader.tags:
        assert tag != "th" or attributes.get("scope") in {"col", "row"}
    for night_and_paper in ("prefers-color-scheme: dark", "@media print"):
        assert night_and_paper in STYLE


def test_the_picture_says_in_words_what_it_shows(posture: Posture) -> None:
    drawn = ET.fromstring(ladder(weak(posture).report()))  # noqa: S314  # our own
    [picture] = drawn
    names = {each.tag: each.text for each in picture}
    assert picture.attrib["role"] == "img"
    assert names["title"] == "The ladder: beginner is reached"
    assert "intermediate: 37 of 38 hold, 1 failed" in (names["desc"] or "")
    assert len([each for each in picture if "step" in each.attrib.get("class", "")]) == len(Level)
    assert len([each for each in picture if each.attrib.get("class") == "flag"]) == 1


def test_where_no_rung_is_reached_no_flag_flies(posture: Posture) -> None:
    posture.set("logging.format", "console")
    assert 'class="flag"' not in ladder(posture.report())
