"""Every call is counted exactly; of the log lines, only those of calls that ended well are sampled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import structlog
from structlog.typing import EventDict

from secure_rpc.call import Method, Patience, Principal
from secure_rpc.observing import CallRecord
from secure_rpc.telemetry.calls import SERVER_FAULTS, CallReporter, Told
from secure_rpc.telemetry.metrics import Metrics

C = grpc.StatusCode
METHOD = Method("/things.v1.Things/Get", Patience(1), request_streaming=False, response_streaming=False)
ALICE = Principal("spiffe://example.org/a", "https://issuer.example.org", "alice", proofs=("token",))


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def told(metrics: Metrics, code: grpc.StatusCode = C.OK, of: Method = METHOD, **said: Any) -> Told:
    usual: dict[str, Any] = {
        "time_seconds": 1_800_000_000.0,
        "call_id": "c-1",
        "method": METHOD.path,
        "kind": "unary",
        "principal": ALICE,
        "workload": ALICE.workload,
        "tenant": "acme",
        "rule": "bindings[0] reader",
        "peer": "ipv4:127.0.0.1:1",
        "code": code.name,
        "reason": "",
        "duration_seconds": 0.001_234_5,
    }
    return metrics.calls.of(of), CallRecord(**(usual | said)), False, False


def counted(metrics: Metrics, code: grpc.StatusCode, method: str = METHOD.path[1:]) -> float:
    labels = {"grpc_method": method, "grpc_status": code.name}
    return metrics.registry.get_sample_value("grpc_server_call_duration_seconds_count", labels) or 0


def refused(metrics: Metrics, code: grpc.StatusCode, reason: str = "", method: str = METHOD.path[1:]) -> float:
    labels = {"grpc_method": method, "grpc_status": code.name, "reason": reason or code.name}
    return metrics.registry.get_sample_value("secure_rpc_refusals_total", labels) or 0


def test_a_line_says_who_called_what_and_how_it_ended(lines: list[EventDict]) -> None:
    metrics = Metrics()
    CallReporter(metrics).add(told(metrics))
    assert lines == [
        {
            "event": "call",
            "log_level": "info",
            "method": "/things.v1.Things/Get",
            "kind": "unary",
            "code": "OK",
            "reason": "",
            "principal": "alice",
            "workload": "spiffe://example.org/a",
            "tenant": "acme",
            "rule": "bindings[0] reader",
            "peer": "ipv4:127.0.0.1:1",
            "call_id": "c-1",
            "trace_id": "",
            "latency_ms": 1.234,
        }
    ]


def test_who_was_refused_before_it_was_known_is_named_by_its_workload_alone(lines: list[EventDict]) -> None:
    metrics = Metrics()
    CallReporter(metrics).add(told(metrics, C.UNAUTHENTICATED, principal=None, workload="spiffe://example.org/b"))
    assert (lines[0]["principal"], lines[0]["workload"]) == ("", "spiffe://example.org/b")


@pytest.mark.parametrize("code", C)
def test_the_level_tells_whose_fault_it_was(lines: list[EventDict], code: grpc.StatusCode) -> None:
    metrics = Metrics()
    CallReporter(metrics).add(told(metrics, code))
    expected = "info" if code is C.OK else "error" if code.name in SERVER_FAULTS else "warning"
    assert [line["log_level"] for line in lines] == [expected]


def test_faults_of_the_server_are_those_of_its_code() -> None:
    assert {C.INTERNAL.name, C.UNKNOWN.name, C.DATA_LOSS.name} == SERVER_FAULTS


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("code", [code for code in C if code is not C.OK])
def test_a_refusal_is_logged_and_counted_whatever_the_share(
    lines: list[EventDict], share: float, code: grpc.StatusCode
) -> None:
    metrics = Metrics()
    reporter = CallReporter(metrics, share, chance=lambda: 0.999_999)
    for _ in range(10):
        reporter.add(told(metrics, code))
    assert len(lines) == 10
    assert refused(metrics, code) == counted(metrics, code) == 10


def test_calls_that_ended_well_are_logged_by_the_share_and_counted_all(lines: list[EventDict]) -> None:
    metrics, chances = Metrics(), itertools.cycle([0.0, 0.249, 0.25, 0.9])
    reporter = CallReporter(metrics, 0.25, chance=lambda: next(chances))
    for _ in range(100):
        reporter.add(told(metrics))
    assert len(lines) == 50
    assert counted(metrics, C.OK) == 100
    assert b"secure_rpc_refusals_total" not in metrics.render()


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 10)])
def test_none_or_all_of_them_are_logged_where_that_is_asked(lines: list[EventDict], share: float, count: int) -> None:
    metrics = Metrics()
    reporter = CallReporter(metrics, share, chance=lambda: 0.0 if share else 0.999)
    for _ in range(10):
        reporter.add(told(metrics))
    assert len(lines) == count


@pytest.mark.usefixtures("lines")
def test_a_refusal_counts_by_the_reason_that_the_platform_gave() -> None:
    metrics = Metrics()
    reporter = CallReporter(metrics)
    reporter.add(told(metrics, C.UNAUTHENTICATED, reason="TOKEN_EXPIRED"))
    reporter.add(told(metrics, C.UNAUTHENTICATED, reason="TOKEN_EXPIRED"))
    reporter.add(told(metrics, C.NOT_FOUND))
    assert (refused(metrics, C.UNAUTHENTICATED, "TOKEN_EXPIRED"), refused(metrics, C.NOT_FOUND)) == (2, 1)


def test_the_path_of_an_unknown_method_is_logged_and_is_no_label(lines: list[EventDict]) -> None:
    metrics = Metrics()
    reporter = CallReporter(metrics)
    for number in range(5):
        reporter.add(told(metrics, C.UNIMPLEMENTED, Method("", Patience(1)), method=f"/no/{number}"))
    assert [line["method"] for line in lines] == [f"/no/{number}" for number in range(5)]
    assert counted(metrics, C.UNIMPLEMENTED, "other") == refused(metrics, C.UNIMPLEMENTED, method="other") == 5


@pytest.mark.usefixtures("lines")
async def test_what_waits_in_the_batch_is_counted_before_a_scrape() -> None:
    metrics = Metrics()
    reporter = CallReporter(metrics)
    for _ in range(1000):
        reporter.add(told(metrics))
    assert counted(metrics, C.OK) == 0
    metrics.render()
    assert counted(metrics, C.OK) == 1000
