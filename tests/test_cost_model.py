"""The cost model follows from what was measured and assumed, and says what comes to its end first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import cost_model, simulation
from benchmarks.cost_model import Assumption, Assumptions, Measured

MEASURED = Measured(
    cpu_us=300.0,
    rest_bytes=9e7,
    full_bytes=1.5e8,
    verified_us=200.0,
    trips_far=0.15,
    trips_near=0.01,
    audit_bytes=400.0,
    log_bytes=5.0,
    series=300.0,
    series_of_a_method=20.0,
)


def kept() -> dict[str, Any]:
    found: dict[str, Any] = {
        "servers": {"samples": {"full chain": [{"cpu_us": 300.0}] * 3}},
        "memory": {"rest_bytes": 9e7, "passing": {"principals": {"bytes": [9e7, 1.5e8]}}},
        "quota": {
            "callers": {
                "modest": {"ended": {"OK": 100}, "round_trips": 15},
                "greedy": {"ended": {"OK": 500, "RESOURCE_EXHAUSTED": 500}, "round_trips": 10},
            }
        },
        "footprint": {
            "audit_bytes_per_call": 400.0,
            "log_bytes_per_call": 5.0,
            "series": 300,
            "series_of_a_method": 20,
        },
        "identity": {"ES256": {"verified, cold": 200.0}},
    }
    return {name: {"results": each, "conditions": {"machine": "A machine"}} for name, each in found.items()}


def shares(replicas: int, assumed: Assumptions) -> dict[str, float]:
    return {demand.what: demand.share for demand in cost_model.demands(replicas, MEASURED, assumed)}


def test_the_model_is_made_of_what_is_kept() -> None:
    assert Measured.of(kept()) == MEASURED
    page = cost_model.page(kept())
    assert "<<" not in page
    for shown in (
        "| CPU-seconds | 300 |",
        "planned for 2,000 calls a second",
        "| 10,000 | 5 |",
        "90 MB at rest and 150 MB",
        "- 0.6 of a core are planned",
        "With 1,000 replicas it is **",
    ):
        assert shown in page


def test_what_is_nearest_to_its_end_is_named() -> None:
    assumed = replace(Assumptions(), series=Assumption(1000, "series"))
    assert max(shares(10, assumed), key=shares(10, assumed).__getitem__) == "metrics"
    assert "**metrics**: what they ask for is more than is there" in cost_model.first_to_saturate(MEASURED, assumed)


def test_more_replicas_ask_for_more_of_everything() -> None:
    few, many = shares(10, Assumptions()), shares(1000, Assumptions())
    assert all(many[what] > few[what] for what in few)


def test_who_calls_seldom_costs_a_round_trip_and_who_calls_often_does_not() -> None:
    seldom, _ = simulation.store_asks([0.01] * 1000, 1, quota=100)
    assert seldom == pytest.approx(2 * 10, rel=0.01), "one to reserve, one to give back"
    often, _ = simulation.store_asks([40.0] * 100, 1, quota=100)
    assert often == pytest.approx(100 * 40 / 5, rel=0.1), "once for half of what is reserved"
    spread, _ = simulation.store_asks([40.0] * 100, 100, quota=100)
    assert spread == pytest.approx(100 * 40, rel=0.1), "of so many replicas none can reserve anything"


def test_who_is_past_the_limit_is_refused_without_a_round_trip() -> None:
    asks, refused = simulation.store_asks([1000.0], 4, quota=100)
    assert (asks, refused) == (100, 900)


def test_calls_are_spread_as_zipf_says() -> None:
    rates = simulation.rates(1000, 100, skew=1.0)
    assert sum(rates) == pytest.approx(1000)
    assert rates[0] == pytest.approx(10 * rates[9])


def test_fetches_come_together_when_nobody_knows_a_key() -> None:
    assert simulation.busiest_second(1000, 300) < 20
    assert simulation.busiest_second_of_new_key(1000, new_tokens_per_second=10) > 900
