"""Dashboards as Grafana reads them: a few kinds of panels, laid out in rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from secure_rpc.observability.objectives import CLOSE, OPEN

Json = dict[str, Any]
Kind = Literal["stat", "timeseries", "heatmap", "status-history", "table", "bargauge"]

SCHEMA_VERSION = 39
COLUMNS = 24  # of Grafana's grid
LABEL = re.compile(r"\[(\w+)\]")  # in a legend
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks; `$job` and `$__rate_interval` are Grafana's, `[name]` in a legend is a label's value."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel."""

    title: str
    description: str
    unit: str  # by Grafana's names: "s", "percentunit", "reqps", ...
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    steps: tuple[tuple[str, float | None], ...] = ((GREEN, None),)  # colours, each from a value on
    drill_down: str = ""  # the dashboard that shows more


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard: rows of panels, each with its title."""

    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    refresh: str = "30s"
    span: str = "now-6h"

    @property
    def panels(self) -> list[Panel]:
        """Return all panels."""
        return [panel for _, panels in self.rows for panel in panels]


def rendered(dashboard: Dashboard, others: tuple[Dashboard, ...], job: str) -> Json:
    """Return a dashboard as Grafana imports it.

    Args:
        dashboard: which.
        others: those that it links to.
        job: the service that is shown first.
    """
    panels: list[Json] = []
    top = 0
    for title, row in dashboard.rows:
        panels.append(_row(title, top, len(panels) + 1))
        top += 1
        left, height = 0, 0
        for panel in row:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel, place, len(panels) + 1))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["secure-rpc"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,  # one cross-hair for all panels
        "refresh": dashboard.refresh,
        "time": {"from": dashboard.span, "to": "now"},
        "timezone": "utc",
        "links": [_link(other) for other in others if other.uid != dashboard.uid],
        "templating": {"list": _variables(job)},
        "annotations": {"list": [_rollouts()]},
        "panels": panels,
    }


def _row(title: str, top: int, number: int) -> Json:
    return {
        "type": "row",
        "id": number,
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        "panels": [],
    }


def _panel(panel: Panel, place: Json, number: int) -> Json:
    instant = panel.kind in {"stat", "table", "bargauge"}
    steps = [{"color": color, "value": value} for color, value in panel.steps]
    links = [{"title": "more", "url": f"/d/{panel.drill_down}?" + "${__url_time_range}&${job:queryparam}"}]
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": SOURCE,
        "links": links if panel.drill_down else [],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "color": {"mode": "thresholds" if len(panel.steps) > 1 else "palette-classic"},
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": _options(panel.kind),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query.expression,
                "legendFormat": LABEL.sub(rf"{OPEN}\1{CLOSE}", query.legend) or "__auto",
                "instant": instant,
                "range": not instant,
                "exemplar": panel.kind == "timeseries" and "_bucket" in query.expression,
                "format": "heatmap" if panel.kind == "heatmap" else "table" if panel.kind == "table" else "time_series",
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _options(kind: Kind) -> Json:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind in {"stat", "bargauge"}:
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if kind == "heatmap":
        return {"calculate": False, "color": {"scheme": "Oranges"}, "yAxis": {"unit": "s"}}
    if kind == "status-history":
        return {"showValue": "auto", "rowHeight": 0.9, "legend": {"displayMode": "list", "placement": "bottom"}}
    return {"showHeader": True}


def _link(other: Dashboard) -> Json:
    return {
        "type": "link",
        "title": other.title,
        "url": f"/d/{other.uid}",
        "keepTime": True,
        "includeVars": True,
        "icon": "dashboard",
        "tooltip": other.description,
    }


def _variables(job: str) -> list[Json]:
    chosen = {"text": job, "value": job, "selected": True}
    return [
        {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"},
        {
            "type": "query",
            "name": "job",
            "label": "Service",
            "datasource": SOURCE,
            "query": {"query": "label_values(secure_rpc_build_info, job)", "refId": "job"},
            "refresh": 2,
            "current": chosen,
        },
    ]


def _rollouts() -> Json:
    return {
        "name": "Roll-outs",
        "enable": True,
        "iconColor": "blue",
        "datasource": SOURCE,
        "expr": 'ALERTS{alertname="DeployWindow",job="$job"}',
        "titleFormat": "roll-out",
    }
