"""The numbers of several workers become one, each kind by its rule."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secure_rpc.method import Method, Patience
from secure_rpc.telemetry.aggregation import Snapshot, merge, remaining, render, snapshot
from secure_rpc.telemetry.metrics import Metrics


def worker(number: float, mode: Any = "all") -> Snapshot:
    registry = CollectorRegistry()
    Counter("c", "C.", ("of",), registry=registry).labels("x").inc(number)
    Gauge("g", "G.", registry=registry, multiprocess_mode=mode).set(number)
    histogram = Histogram("h", "H.", registry=registry, buckets=(1, 10))
    histogram.observe(number, exemplar={"trace_id": f"t{number:g}"})
    return snapshot(registry)


def samples_of(families: Snapshot) -> dict[str, float]:
    """Return what a reader of the text finds."""
    found = {}
    for family in text_string_to_metric_families(render(families).decode()):  # type: ignore[no-untyped-call]
        for each in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}" if labels else each.name] = each.value
    return found


def test_counters_and_histograms_are_added_up() -> None:
    found = samples_of(merge([("0", worker(2)), ("1", worker(5)), ("2", worker(20))]))
    assert found["c_total{of=x}"] == 27
    assert [found[f"h_bucket{{le={le}}}"] for le in ("1.0", "10.0", "+Inf")] == [0, 2, 3]
    assert (found["h_count"], found["h_sum"]) == (3, 27)


def test_a_counter_began_when_the_first_of_them_did() -> None:
    first, second = worker(1), worker(1)
    began = min(samples_of(each)["c_created{of=x}"] for each in (first, second))
    assert samples_of(merge([("0", first), ("1", second)]))["c_created{of=x}"] == began


def test_an_exemplar_of_one_of_them_is_kept() -> None:
    text = render(merge([("0", worker(2)), ("1", worker(20))])).decode()
    assert 'h_bucket{le="10.0"} 1.0 # {trace_id="t2"} 2.0' in text
    assert 'h_bucket{le="+Inf"} 2.0 # {trace_id="t20"} 20.0' in text


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("sum", {"g": 7}),
        ("livesum", {"g": 7}),
        ("min", {"g": 2}),
        ("livemin", {"g": 2}),
        ("max", {"g": 5}),
        ("livemax", {"g": 5}),
        ("all", {"g{worker=0}": 2, "g{worker=1}": 5}),
        ("mostrecent", {"g{worker=0}": 2, "g{worker=1}": 5}),
    ],
)
def test_gauges_become_one_by_the_rule_of_each(mode: str, expected: dict[str, float]) -> None:
    found = samples_of(merge([("0", worker(2, mode)), ("1", worker(5, mode))]))
    assert {name: value for name, value in found.items() if name.startswith("g")} == expected


def test_what_one_that_ended_had_counted_stays() -> None:
    gone = remaining(merge([("", remaining(worker(1, "sum"))), ("", worker(2, "sum"))]))
    found = samples_of(merge([("", gone), ("0", worker(4, "sum"))]))
    assert (found["c_total{of=x}"], found["h_count"], found["g"]) == (7, 3, 7)


@pytest.mark.parametrize("mode", ["all", "livesum", "livemax", "livemin", "liveall"])
def test_what_one_that_ended_was_at_the_moment_goes_with_it(mode: str) -> None:
    assert {family["name"] for family in remaining(worker(1, mode))} == {"c", "h"}


def test_every_gauge_of_ours_has_a_rule_that_needs_no_label() -> None:
    """One without would appear under another name of series as soon as there is a supervisor."""
    families = snapshot(Metrics().registry)
    gauges = {family["name"]: family["mode"] for family in families if family["type"] == "gauge"}
    assert gauges
    assert {name: mode for name, mode in gauges.items() if mode.removeprefix("live") not in {"sum", "min", "max"}} == {}


def test_a_snapshot_is_as_much_as_the_registry_would_have_told() -> None:
    metrics = Metrics()
    counted = metrics.calls.of(Method("/a/B", Patience(1)))
    counted.ended("OK", 0.2, "a" * 32)
    counted.refused("NOT_FOUND", "NO")
    metrics.refresh()
    assert render(snapshot(metrics.registry)) == generate_latest(metrics.registry)  # type: ignore[no-untyped-call]
