"""The numbers of several workers as one: counters and histograms are added up, gauges by a rule of each.

prometheus_client's own multiprocess mode keeps them in files that all processes map. It costs every increment, and has
neither exemplars nor the time of a counter's start; so each worker is asked for its numbers instead. The rule of a
gauge is the one that it would have there, its `multiprocess_mode`: sum, min or max, else one sample a worker, by label.

Counters must not fall when a worker ends: what it had counted, as far as it was seen, is counted on in `gone`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.samples import Exemplar

# [name, labels, value, exemplar: [labels, value, timestamp] or None]
Sample: TypeAlias = list[Any]
# {"name", "help", "type", "unit", "mode", "samples"}: plain data, which travels between processes as JSON
Family: TypeAlias = dict[str, Any]
Snapshot: TypeAlias = list[Family]

WORKER = "worker"
ADDED_UP = frozenset({"counter", "histogram", "summary"})
_PER_WORKER = "all"
_LIVE = "live"


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """Return all numbers of a registry as plain data."""
    return [
        {
            "name": metric.name,
            "help": metric.documentation,
            "type": metric.type,
            "unit": metric.unit,
            "mode": _mode_of(registry, metric.name),
            "samples": [[each.name, each.labels, each.value, _plain(each.exemplar)] for each in metric.samples],
        }
        for metric in registry.collect()
    ]


def merge(snapshots: Iterable[tuple[str, Snapshot]]) -> Snapshot:
    """Return the numbers of several workers as one.

    Args:
        snapshots: each with the label of its worker, "" for one that needs none.
    """
    merged: dict[str, Family] = {}
    values: dict[str, dict[tuple[Any, ...], Sample]] = {}
    for worker, families in snapshots:
        for family in families:
            name = family["name"]
            merged.setdefault(name, {**family, "samples": []})
            samples = values.setdefault(name, {})
            for sample in family["samples"]:
                if worker and _is_per_worker(family):
                    sample = [sample[0], {**sample[1], WORKER: worker}, *sample[2:]]  # noqa: PLW2901
                key = (sample[0], *sorted(sample[1].items()))
                samples[key] = _combined(family, samples[key], sample) if key in samples else sample
    return [{**family, "samples": list(values[name].values())} for name, family in merged.items()]


def remaining(families: Snapshot) -> Snapshot:
    """Return what still counts of a worker that has ended: what is added up, and gauges whose rule is no live one."""
    return [
        family
        for family in families
        if family["type"] in ADDED_UP or not (_is_per_worker(family) or family["mode"].startswith(_LIVE))
    ]


def render(families: Snapshot) -> bytes:
    """Return numbers in the OpenMetrics text format."""
    text: bytes = generate_latest(_Collected(families))  # type: ignore[no-untyped-call]
    return text


class _Collected:
    """Looks to prometheus_client like a registry."""

    def __init__(self, families: Snapshot) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family["name"], family["help"], family["type"], family["unit"])
            for name, labels, value, exemplar in family["samples"]:
                metric.add_sample(name, labels, value, None, Exemplar(*exemplar) if exemplar else None)
            yield metric


def _mode_of(registry: CollectorRegistry, name: str) -> str:
    collector = registry._names_to_collectors.get(name)  # noqa: SLF001  # there is no other way to a gauge's mode
    return str(getattr(collector, "_multiprocess_mode", _PER_WORKER))


def _plain(exemplar: Exemplar | None) -> list[Any] | None:
    if exemplar is None:
        return None
    return [exemplar.labels, exemplar.value, None if exemplar.timestamp is None else float(exemplar.timestamp)]


def _is_per_worker(family: Family) -> bool:
    return family["type"] not in ADDED_UP and family["mode"].removeprefix(_LIVE) not in {"sum", "min", "max"}


def _combined(family: Family, one: Sample, other: Sample) -> Sample:
    name, labels = one[:2]
    mode = family["mode"].removeprefix(_LIVE)
    if name.endswith("_created") and family["type"] in ADDED_UP:
        value = min(one[2], other[2])
    elif family["type"] in ADDED_UP or mode == "sum":
        value = one[2] + other[2]
    elif mode in {"min", "max"}:
        value = (min if mode == "min" else max)(one[2], other[2])
    else:
        value = other[2]
    exemplars = [each for each in (one[3], other[3]) if each]
    return [name, labels, value, max(exemplars, key=lambda each: each[2] or 0.0, default=None)]
