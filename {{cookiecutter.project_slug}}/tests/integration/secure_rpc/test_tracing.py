"""The trace of a call comes to a real collector, across services; what is not traced enters no OpenTelemetry."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest
from opentelemetry import trace as otel

from secure_rpc.platform import Application
from secure_rpc.telemetry.tracing import Tracing

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.clocks import until
from support.collector import Collector, run_collector
from support.probe import Servicer
from support.target import Target, run_target

C = grpc.StatusCode
SERVICE = "probe.v1.ProbeService"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01")
UNSAMPLED = ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-00")
SERVER = 2  # opentelemetry.proto.trace.v1.Span.SpanKind
STEPS = {"authentication", "policy", "quota", "validation"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with run_collector() as running:
        yield running


def tracing(collector: Collector, ratio: float, **others: Any) -> dict[str, Any]:
    return {"otlp_endpoint": collector.url, "sample_ratio": ratio, **others}


@asynccontextmanager
async def traced(
    application: Application, folder: Path, collector: Collector, ratio: float, name: str = "probe", **others: Any
) -> AsyncIterator[Target]:
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    servicer = others.pop("servicer", None)
    settings = {"service": {"name": name}, "tracing": tracing(collector, ratio, **others)}
    async with run_target(application, folder, settings, servicer=servicer) as target:
        yield target


def flush(target: Target) -> None:
    kept = target.service.server.platform.tracing
    assert isinstance(kept, Tracing)
    kept._spans.provider.force_flush()  # type: ignore[attr-defined]


class Relaying(Servicer):
    """Answers by asking another service, through our client."""

    def __init__(self) -> None:
        super().__init__()
        self.other: Any = None
        self.token = ""
        self.heard: list[tuple[tuple[str, str | bytes], ...]] = []

    async def Unary(self, request: pb.Ask, context: Any) -> pb.Answer:
        self.heard.append(tuple(context.invocation_metadata()))
        if self.other is not None:
            stub: Any = probe_pb2_grpc.ProbeServiceStub(self.other)
            await stub.Unary(request, metadata=(("authorization", f"Bearer {self.token}"),))
        return pb.Answer(text="relayed")


@asynccontextmanager
async def two(
    application: Application, folder: Path, collector: Collector, ratio: float, **others: Any
) -> AsyncIterator[tuple[Target, Relaying, Relaying]]:
    """Run a service that calls another one; return it with the servicers of both."""
    first, second = Relaying(), Relaying()
    async with (
        traced(application, folder / "back", collector, 0.0, "back", servicer=second, **others) as back,
        traced(application, folder / "front", collector, ratio, "front", servicer=first, **others) as front,
    ):
        first.other, first.token = back.channel, back.token()
        yield front, first, second


async def test_a_call_across_two_services_is_one_trace_with_the_steps_of_authentication_in_it(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    """The second service would keep none of its own: it keeps this one since the first has."""
    async with two(application, tmp_path, collector, 1.0) as (front, _, _):
        assert (await front.ask("Unary")).code is C.OK
        await until(lambda: len(collector.named(f"{SERVICE}/Unary")) == 2)
    [one] = collector.named(f"{SERVICE}/Unary", "front")
    [two_] = collector.named(f"{SERVICE}/Unary", "back")
    assert (one.parent_id, one.kind) == ("", SERVER)
    assert (two_.trace_id, two_.parent_id, two_.kind) == (one.trace_id, one.span_id, SERVER)
    for call in (one, two_):
        steps = collector.children(call)
        assert set(steps) >= STEPS
        assert all(call.began <= steps[name].began <= steps[name].ended <= call.ended for name in STEPS)
        order = [steps[name].began for name in ("authentication", "policy", "quota", "validation")]
        assert order == sorted(order)
        assert call.attributes["rpc.system.name"] == "grpc"
        assert call.attributes["rpc.method"] == f"{SERVICE}/Unary"
        assert call.attributes["rpc.response.status_code"] == "OK"
    assert one.began <= two_.began <= two_.ended <= one.ended


async def test_a_trace_of_the_callers_goes_on_and_log_audit_and_exemplar_name_it(
    application: Application, tmp_path: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    async with traced(application, tmp_path, collector, 0.0) as target:
        assert (await target.ask("Unary", metadata=[SAMPLED, ("tracestate", "vendor=1")])).code is C.OK
        [record] = await target.service.audit_records()
        text = target.service.server.platform.metrics.render().decode()
        await until(lambda: collector.named(f"{SERVICE}/Unary"))
    [span] = collector.named(f"{SERVICE}/Unary")
    assert (span.trace_id, span.parent_id, span.state) == (TRACE_ID, SPAN_ID, "vendor=1")
    assert record["trace_id"] == TRACE_ID
    assert f'# {{trace_id="{TRACE_ID}"}}' in text
    assert f"trace_id={TRACE_ID}" in capsys.readouterr().out


async def test_a_refusal_is_told_by_the_step_that_refused(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    async with traced(application, tmp_path, collector, 1.0) as target:
        await target.ask("Unary", authorization=f"Bearer {target.token('mallory')}")
        await until(lambda: collector.named(f"{SERVICE}/Unary"))
    [span] = collector.named(f"{SERVICE}/Unary")
    steps = collector.children(span)
    assert set(steps) == {"authentication", "policy"}
    assert (steps["policy"].attributes, steps["policy"].status) == ({"error.type": "PERMISSION_MISSING"}, 2)
    assert (steps["authentication"].attributes, steps["authentication"].status) == ({}, 0)
    assert span.attributes["error.type"] == "PERMISSION_MISSING"
    assert span.attributes["rpc.response.status_code"] == "PERMISSION_DENIED"


async def test_failed_authentication_is_traced_whatever_the_share(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    async with traced(application, tmp_path, collector, 0.0) as target:
        assert (await target.ask("Unary")).code is C.OK
        await target.ask("Unary", authorization="Bearer a.b.c")
        await target.ask("ServerStream", authorization="", metadata=[UNSAMPLED])
        await until(lambda: len(collector.spans) == 4)
    [bad] = collector.named(f"{SERVICE}/Unary")
    [none] = collector.named(f"{SERVICE}/ServerStream")
    assert (none.trace_id, none.parent_id) == (TRACE_ID, SPAN_ID)
    for span, reason in ((bad, "TOKEN_MALFORMED"), (none, "TOKEN_MISSING")):
        assert span.attributes["error.type"] == reason
        [step] = collector.children(span).values()
        assert (step.name, step.attributes["error.type"], step.status) == ("authentication", reason, 2)
        assert span.began <= step.began < step.ended <= span.ended


async def test_what_is_not_traced_never_enters_opentelemetry(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    entered: list[str] = []

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "opentelemetry" in frame.f_code.co_filename:
            entered.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

    async with traced(application, tmp_path, collector, 0.0) as target, target.bare_channel() as channel:
        sys.setprofile(watch)
        try:
            for metadata in ([], [UNSAMPLED]):
                assert (await target.ask("Unary", metadata=metadata, channel=channel)).code is C.OK
                assert (await target.ask("Bidi", metadata=metadata, channel=channel)).code is C.OK
            assert entered == []
            assert (await target.ask("Unary", metadata=[SAMPLED], channel=channel)).code is C.OK
        finally:
            sys.setprofile(None)
        assert len(entered) > 20  # so the watch sees it where it is entered
        await until(lambda: collector.spans)
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}


async def test_what_is_not_traced_is_told_to_the_next_service_all_the_same(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    async with two(application, tmp_path, collector, 0.0) as (front, first, second):
        assert (await front.ask("Unary")).code is C.OK
        assert (await front.ask("Unary", metadata=[UNSAMPLED, ("baggage", "a=1")])).code is C.OK
        logged = [record["trace_id"] for record in await front.service.audit_records()]
    heard = [dict(metadata) for metadata in second.heard]
    made, passed = (str(each["traceparent"]).split("-") for each in heard)
    assert made[1] == logged[0] != logged[1] == TRACE_ID
    assert (made[3], passed) == ("00", ["00", TRACE_ID, SPAN_ID, "00"])
    assert "traceparent" not in dict(first.heard[0])
    assert ["baggage" in each for each in heard] == [False, False]
    assert collector.spans == []


async def test_baggage_goes_on_where_a_setting_says_so_and_it_is_not_too_much(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    async with two(application, tmp_path, collector, 0.0, propagate_baggage=True) as (front, _, second):
        for baggage in ("a=1", "a=" + "1" * 2000, ",".join(f"k{number}=1" for number in range(17))):
            await front.ask("Unary", metadata=[SAMPLED, ("baggage", baggage)])
    assert [dict(metadata).get("baggage") for metadata in second.heard] == ["a=1", None, None]


async def test_a_handlers_own_span_is_part_of_the_trace_and_not_of_calls_that_are_not_traced(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    class Own(Servicer):
        async def Unary(self, request: pb.Ask, _context: Any) -> pb.Answer:
            provider = target.service.server.platform.tracing._spans.provider  # type: ignore[attr-defined]
            with provider.get_tracer("own").start_as_current_span("own work"):
                assert otel.get_current_span().is_recording() is bool(request.count)
            return pb.Answer()

    async with traced(application, tmp_path, collector, 0.0, servicer=Own()) as target:
        assert (await target.ask("Unary", pb.Ask(act="a", count=0))).code is C.OK
        assert (await target.ask("Unary", pb.Ask(act="a", count=1), metadata=[SAMPLED])).code is C.OK
        await until(lambda: collector.named(f"{SERVICE}/Unary"))
    [own] = collector.named("own work")
    assert own.parent_id == collector.named(f"{SERVICE}/Unary")[0].span_id


async def test_a_collector_that_refuses_or_is_silent_touches_no_call(
    application: Application, tmp_path: Path, collector: Collector
) -> None:
    async with traced(application, tmp_path, collector, 1.0, queue_size=20) as target:
        collector.status = 400
        assert (await target.ask("Unary")).code is C.OK

        def lost(cause: str) -> float:
            return target.service.metric("secure_rpc_spans_lost_total", cause=cause)

        await until(lambda: lost("export_failed"), 10)
        assert lost("export_failed") >= len(STEPS) + 1
        collector.may_answer.clear()
        asked = collector.asked
        await target.ask("Unary")
        await until(lambda: collector.asked > asked)  # now it is silent
        for _ in range(10):
            assert (await target.ask("Unary")).code is C.OK
        assert lost("queue_full") >= 10 * (len(STEPS) + 1) - 20
        collector.status = 200
        collector.may_answer.set()
        await until(lambda: target.service.metric("secure_rpc_spans_exported_total"), 10)


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    """Nothing but what redis-py, wherever that is installed, takes for its own metrics."""
    code = (
        "import sys, secure_rpc.server, secure_rpc.client, secure_rpc.cli.main\n"
        "from secure_rpc.telemetry.tracing import tracing_of\n"
        "from secure_rpc.telemetry.metrics import Metrics\n"
        "from secure_rpc.settings import Tracing\n"
        "tracing_of(Tracing(), Metrics().tracing, {})\n"
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'opentelemetry.proto')\n"
        "found = [name for name in sys.modules if name.startswith(ours)]\n"
        "sys.exit(str(found) if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
