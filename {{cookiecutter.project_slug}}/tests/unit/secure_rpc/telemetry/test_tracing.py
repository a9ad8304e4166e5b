"""Which calls are traced: a share, those whose callers ask for it, failed authentication; the last two by a rate."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from secure_rpc import errors
from secure_rpc.call import Call, Method, Outcome, Patience
from secure_rpc.observing import Observer, observed
from secure_rpc.stages.telemetry import Telemetry
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.telemetry.tracing import Budget, NoTracing, Tracing, tracing_of
from secure_rpc.telemetry.tracing_metrics import TracingMetrics
from secure_rpc.telemetry.tracing_settings import Tracing as Settings
from secure_rpc.trace_context import Trace

from support.clocks import Clock

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
REFUSED = Outcome(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED", None)


class Kept:
    """Notes which calls would have spans."""

    def __init__(self) -> None:
        self.opened = 0
        self.told = 0
        self.began_seconds = 0.0

    def open(self, _call: Call, trace: Trace) -> None:
        self.opened += 1
        trace.span = self

    def close(self, _call: Call, _trace: Trace, _outcome: Outcome) -> None: ...

    def tell(self, _call: Call, _trace: Trace, _outcome: Outcome, began_seconds: float) -> None:
        self.told += 1
        self.began_seconds = began_seconds

    def make_global(self) -> None: ...

    def shutdown(self) -> None: ...


def call(flags: str = "") -> Call:
    metadata = (("traceparent", PARENT + flags),) if flags else ()
    return Call(Method("/a.B/C", Patience(1)), "/a.B/C", metadata)


def world(ratio: float, chance: float = 0.5, **settings: Any) -> tuple[Tracing, Kept, CollectorRegistry, Clock]:
    kept, registry, clock = Kept(), CollectorRegistry(), Clock()
    made = Settings(sample_ratio=ratio, **settings)
    tracing = Tracing(made, kept, TracingMetrics(registry), chance=lambda: chance, clock=clock)
    return tracing, kept, registry, clock


@pytest.mark.parametrize(("ratio", "count"), [(0.0, 0), (0.5, 0), (0.51, 10), (1.0, 10)])
def test_traces_that_begin_here_are_kept_by_a_share(ratio: float, count: int) -> None:
    tracing, kept, _, _ = world(ratio)
    for _ in range(10):
        tracing.begin(call())
    assert kept.opened == count


@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize(("flags", "count"), [("00", 0), ("01", 10)])
def test_traces_of_callers_are_kept_if_they_kept_theirs_whatever_the_share(
    ratio: float, flags: str, count: int
) -> None:
    tracing, kept, _, _ = world(ratio)
    for _ in range(10):
        tracing.begin(call(flags))
    assert kept.opened == count


def test_callers_cannot_have_all_calls_traced() -> None:
    tracing, kept, registry, clock = world(0.0, max_sampled_per_second=5.0)
    for _ in range(100):
        tracing.begin(call("01"))
    assert kept.opened == 5
    assert registry.get_sample_value("secure_rpc_traces_not_kept_total", {"asked_by": "caller"}) == 95
    clock.pass_(0.4)
    for _ in range(100):
        tracing.begin(call("01"))
    assert kept.opened == 7


def test_a_flood_of_bad_credentials_is_traced_by_a_rate() -> None:
    tracing, kept, registry, _ = world(0.0, max_sampled_per_second=5.0)
    for _ in range(100):
        one = call()
        tracing.end(one, tracing.begin(one), REFUSED, 0.0)
    assert (kept.opened, kept.told) == (0, 5)
    assert registry.get_sample_value("secure_rpc_traces_not_kept_total", {"asked_by": "failure"}) == 95


def test_a_failure_of_a_call_that_is_traced_is_not_told_twice() -> None:
    tracing, kept, _, _ = world(1.0)
    one = call()
    tracing.end(one, tracing.begin(one), REFUSED, 0.0)
    assert (kept.opened, kept.told) == (1, 0)


async def test_what_is_told_of_a_failure_begins_with_the_call_whatever_took_its_time_since() -> None:
    tracing, kept, _, clock = world(0.0)
    metrics = Metrics()
    telemetry = Telemetry(metrics, CallReporter(metrics), tracing).bind(call().method)
    late = Observer(None, lambda _call, _noted, _outcome: clock.pass_(3.0))

    async def proceed(_call: Call) -> None:
        clock.pass_(5.0)
        raise errors.Unauthenticated(reason="TOKEN_EXPIRED")

    one, began = call(), clock()
    one._address = "ipv4:127.0.0.1:1"
    with pytest.raises(errors.Unauthenticated):
        await observed(one.method, [telemetry, late], clock)(one, proceed)
    assert (kept.told, kept.began_seconds) == (1, began)


def test_a_budget_below_one_a_second_is_spent_now_and_then() -> None:
    clock = Clock()
    budget = Budget(0.5, clock)
    taken = []
    for _ in range(8):
        clock.pass_(1.0)
        taken.append(budget.take())
    assert sum(taken) == 4


def test_without_an_endpoint_traces_pass_through() -> None:
    tracing = tracing_of(Settings(), TracingMetrics(CollectorRegistry()), {})
    assert type(tracing) is NoTracing
    assert tracing.begin(call()) is None
    trace = tracing.begin(call("01"))
    assert trace is not None
    assert trace.headers() == [("traceparent", PARENT + "01")]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"otlp_endpoint": "collector:4318"}, "an endpoint is an address"),
        ({"otlp_endpoint": "https://user:pass@collector"}, "without user and password"),
        ({"otlp_endpoint": "https://collector:4318?x=1"}, "an endpoint is an address"),
        ({"otlp_endpoint": "https://collector:x"}, "an endpoint is an address"),
        ({"otlp_endpoint": "http://collector:4318"}, "in plaintext"),
        ({"otlp_endpoint": "https://c", "certificate_file": "a"}, "come together"),
        ({"sample_ratio": 1.1}, "less than or equal to 1"),
    ],
)
def test_settings_that_are_wrong_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Settings(**settings)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://collector:4318", "https://collector:4318/v1/traces"),
        ("https://collector:4318/", "https://collector:4318/v1/traces"),
        ("https://collector/otlp/traces", "https://collector/otlp/traces"),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_usual_one(given: str, used: str) -> None:
    assert Settings(otlp_endpoint=given).otlp_endpoint == used
