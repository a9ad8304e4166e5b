"""The pictures of dashboards in the documentation: made of what a live Prometheus answers."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from tests.observing import drawing
from tests.observing.drawing import panels_of
from tests.observing.panels import Series
from tools.bake import INNER, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.observing.prometheus import Prometheus

__all__ = ["DASHBOARDS", "FOLDER", "RATE_INTERVAL", "dashboard", "panels_of", "picture"]

Json = dict[str, Any]
LABEL = re.compile(r"\{\{(\w+)\}\}")  # in a legend
DASHBOARDS = ("debug", "executive", "on-call")
FOLDER = ROOT / INNER / "docs" / "pictures"
RATE_INTERVAL = "15s"  # what Grafana would make of the scrapes of a second
POINTS = 150
LONGEST_SECONDS = 150.0  # that a picture goes back: past the start, whose rates are of a second or two


def dashboard(service: Path, name: str) -> Json:
    """Return a dashboard of a generated service."""
    found: Json = json.loads((service / "observability" / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def asked(expression: str, job: str) -> str:
    """Return an expression as Grafana would ask it."""
    return expression.replace("$job", job).replace("$__rate_interval", RATE_INTERVAL)


def picture(prometheus: Prometheus, content: Json, job: str, to: Path) -> list[str]:
    """Draw a dashboard, and return the titles of the panels for which there was something to draw.

    Args:
        prometheus: that has scraped the service.
        content: the dashboard.
        job: the service.
        to: the file.

    """
    end = time.time()
    [first] = prometheus.query(f'{end:.3f} - min(min_over_time(timestamp(up{{job="{job}"}})[1h:1s]))')
    start = end - min(float(first["value"][1]), LONGEST_SECONDS)
    drawn = []

    def series_of(panel: Json) -> list[Series]:
        found = []
        for target in panel["targets"]:
            expression = asked(target["expr"], job)
            if target["instant"]:
                answers = [{**each, "values": [each["value"]]} for each in prometheus.query(expression)]
            else:
                answers = prometheus.query_range(expression, start, end, (end - start) / POINTS)
            found += [_series(each, target["legendFormat"], start) for each in answers]
        if found := [each for each in found if each.points]:
            drawn.append(panel["title"])
        return found

    drawing.draw(content, series_of, end - start, to)
    return drawn


def _series(answer: Json, legend: str, start: float) -> Series:
    labels = {name: value for name, value in answer["metric"].items() if name != "__name__"}
    name = LABEL.sub(lambda found: labels.get(found[1], ""), legend).strip() or "none"
    points = [(moment - start, float(value)) for moment, value in answer["values"] if value not in {"NaN", "+Inf"}]
    return Series(name, labels, points)
