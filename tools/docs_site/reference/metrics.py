"""The page of all metrics: what is registered when a service starts, with its type, labels and meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from secure_rpc.telemetry.metrics import Metrics

from tools.docs_site.reference.tables import code, rows, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.registry import Collector

PAGE = Path("docs/observability.md")
ENDS = {"counter": "_total"}
INTRODUCTION = """# Metrics

Made from what is registered when a service starts. What they are used for, and which share of what they form, stands in
[Observability](../service/docs/observability.md); the alerts on them in [Runbooks](../service/runbooks/README.md).
"""


def collectors(metrics: Metrics) -> Iterator[Collector]:
    """Yield what is registered, each once, in order."""
    names: dict[Collector, list[str]] = metrics.registry._collector_to_names  # noqa: SLF001  # it has no other list
    yield from names


def page() -> str:
    """Return the page.

    Raises:
        KeyError: the service's own page does not say what a metric means.

    """
    said = rows(PAGE)
    lines = []
    for collector in collectors(Metrics()):
        labels: tuple[str, ...] = getattr(collector, "_labelnames", ())
        for family in collector.collect():
            name = f"{family.name}{ENDS.get(family.type, '')}"
            cells = said.get(name)
            told = labels or tuple(re.findall(r"`([a-z_]+)`", cells[0] if cells else ""))
            meaning = cells[-1] if cells else family.documentation
            lines.append((code(name), family.type, ", ".join(map(code, told)), meaning))
    return "\n".join([INTRODUCTION, table(("metric", "type", "labels", "meaning"), lines)])
