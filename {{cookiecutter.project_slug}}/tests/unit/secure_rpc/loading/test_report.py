"""What was counted is what is told, in rows, lines and a picture."""

from __future__ import annotations

from array import array
from typing import Any
from xml.etree import ElementTree as ET

from secure_rpc.loading import report
from secure_rpc.loading.mix import Act
from secure_rpc.loading.tally import Tally, latency_figures
from secure_rpc.loading.traffic import Course

GET = Act("/orders.v1.Orders/Get", "unary", "allowed", 1, b"")
BAD = Act("/orders.v1.Orders/Get", "unary", "bad-token", 1, b"")
WATCH = Act("/orders.v1.Orders/Watch", "server_stream", "allowed", 1, b"")


def course() -> Course:
    made = Course([GET, BAD, WATCH], {act: Tally() for act in (GET, BAD, WATCH)}, seconds=2.0, due=103)
    for number in range(1, 101):
        made.tallies[GET].add("OK" if number > 1 else "RESOURCE_EXHAUSTED QUOTA_EXCEEDED", number / 1000, 0)
    made.tallies[BAD].add("UNAUTHENTICATED TOKEN_SIGNATURE_WRONG", 0.001, 0)
    made.tallies[WATCH].add("OPEN", None, 0)
    made.not_made = 1
    made.server = {"cpu_seconds": 0.051, "seconds": 2, "cores": 0.25, "memory_bytes": 1e8, "memory_growth_bytes": 1e6}
    return made


def test_refusals_are_counted_by_reason_and_who_was_let_in_is_named() -> None:
    made = course()
    assert made.calls == 102
    assert made.refused() == {"RESOURCE_EXHAUSTED QUOTA_EXCEEDED": 1, "UNAUTHENTICATED TOKEN_SIGNATURE_WRONG": 1}
    assert made.let_in() == {}
    made.tallies[BAD].add("NOT_FOUND NOT_FOUND", 0.001, 0)
    assert made.let_in() == {"Get, bad-token": 1}


def test_rows_and_lines_tell_all_of_it() -> None:
    figures: dict[str, Any] = course().figures()
    rows = {row[0]: row for row in report.rows(figures)}
    assert rows["Get"] == (
        "Get", "unary", "100", "OK 99, RESOURCE_EXHAUSTED QUOTA_EXCEEDED 1", "50.50", "90.10", "99.01", "100.00",
    )  # fmt: skip
    assert rows["Watch"][3:] == ("OPEN 1", "-", "-", "-", "-")
    lines = "\n".join(report.summary(figures, rate=51.5))
    for told in (
        "51.0 calls a second",
        "of 51.5",
        "1 calls were not made",
        "refused: UNAUTHENTICATED",
        "500 us a call",
    ):
        assert told in lines
    assert "limits the rate" not in lines
    assert "limits the rate" in "\n".join(report.summary({**figures, "client_share": 0.95}, rate=51.5))


def test_nothing_timed_and_one_thing_timed_have_figures_too() -> None:
    assert set(latency_figures(array("d")).values()) == {None}
    assert set(latency_figures(array("d", [0.25])).values()) == {250.0}


def test_the_picture_is_one_and_shows_what_has_a_latency() -> None:
    nothing: dict[str, Any] = {"acts": {}}
    for figures in (course().figures(), nothing):
        root = ET.fromstring(report.picture("orders <at> 50", figures))  # noqa: S314  # our own
        texts = {element.text for element in root.iter() if element.text}
        assert "orders <at> 50" in texts
        assert ("Get" in texts) == bool(figures["acts"])
        assert "Watch" not in texts


def test_each_latency_has_a_mark_the_longer_the_further_to_the_right() -> None:
    root = ET.fromstring(report.picture("orders", course().figures()))  # noqa: S314  # our own
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    for _, _, colour in report.MARKS:
        assert (
            sum(circle.get("fill") == colour for circle in circles) == 1 + 2
        )  # the legend, Get and Get with a bad token
    legend_at = circles[0].get("cy")
    by_row: dict[str, list[float]] = {}
    for circle in circles:
        if (row := circle.get("cy", "")) != legend_at:
            by_row.setdefault(row, []).append(float(circle.get("cx", "")))
    quick, slow = sorted(by_row.values(), key=max)
    assert len(set(quick)) == 1  # its one call
    assert slow == sorted(slow)
    assert len(set(slow)) == len(report.MARKS)


def test_the_page_tells_how_many_can_be_authenticated_where_that_was_measured() -> None:
    ways = {
        "known": {"per_second": 7654.0, "cpu_us": 183.4, "refused": 0, "done": 100},
        "new certificate": {"per_second": 321.0, "refused": 1234, "done": 100},
    }
    page = report.page("orders", ["a line"], course().figures(), ways)
    assert "| known | 7,654 | 183 | 0 |" in page
    assert "| new certificate | 321 | - | 1,234 |" in page
    assert report.WAYS_HEADER[0] not in report.page("orders", ["a line"], course().figures(), {})
