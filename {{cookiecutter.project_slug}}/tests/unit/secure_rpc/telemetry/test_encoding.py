"""Steps of a call are told to a collector as the SDK's own spans would be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from secure_rpc.telemetry.encoding import SCOPE, Encoder, StepSpan

PROVIDER = TracerProvider(resource=Resource({"service.name": "things"}), shutdown_on_exit=False)
TRACER = PROVIDER.get_tracer(SCOPE)
KEY = "-----BEGIN {0}-----MIGH-----END {0}-----".format("PRIVATE KEY")  # in one piece it would be taken for one


def span_of_a_call(state: str = "") -> ReadableSpan:
    """Return one that has ended, below a span of the caller."""
    state_of_caller = TraceState.from_header([state]) if state else None
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=state_of_caller)
    span = TRACER.start_span("things.v1.Things/Get", otel.set_span_in_context(otel.NonRecordingSpan(parent)))
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


def of_the_sdk(parent: ReadableSpan, step: StepSpan) -> ResourceSpans:
    """Return the same step as the SDK and its encoder have it."""
    assert isinstance(parent, otel.Span)
    span = TRACER.start_span(step.name, otel.set_span_in_context(parent), start_time=step.began)
    if step.failure:
        span.set_attribute("error.type", step.failure)
        span.set_status(Status(StatusCode.ERROR))
    span.end(step.ended)
    assert isinstance(span, ReadableSpan)
    [found] = encode_spans([span]).resource_spans
    return found


def the_span(found: ResourceSpans) -> Span:
    [scope] = found.scope_spans
    [span] = scope.spans
    return span


@pytest.mark.parametrize("failure", ["", "TOKEN_EXPIRED"])
@pytest.mark.parametrize("state", ["", "vendor=1,other=2"])
def test_a_step_is_encoded_as_the_sdk_would(failure: str, state: str) -> None:
    parent = span_of_a_call(state)
    step = StepSpan(parent, "authentication", 1_000, 2_000, failure)
    [found] = Encoder(SCOPE).encoded([step]).resource_spans
    expected = of_the_sdk(parent, step)
    assert len(the_span(found).span_id) == 8
    the_span(found).span_id = the_span(expected).span_id = b""
    assert found == expected


def test_spans_and_steps_go_together_and_the_encoder_keeps_none_of_them() -> None:
    encoder, parent = Encoder(SCOPE), span_of_a_call()
    for _ in range(2):
        request = encoder.encoded([StepSpan(parent, "policy", 1, 2), StepSpan(parent, "quota", 2, 3), parent])
        names = [[span.name for scope in each.scope_spans for span in scope.spans] for each in request.resource_spans]
        assert names == [["policy", "quota", "things.v1.Things/Get"]]
        ids = [span.span_id for span in request.resource_spans[0].scope_spans[0].spans]
        assert len(set(ids)) == 3


def with_everything(span: Any) -> None:
    """Have a call end badly, with what the platform says of that."""
    span.set_attribute("error.type", "STORE_UNAVAILABLE")
    span.set_attribute("rpc.response.status_code", "UNAVAILABLE")
    span.set_status(Status(StatusCode.ERROR))


def with_an_event(span: Any) -> None:
    """Have a handler tell of something."""
    span.add_event("read", {"rows": 3})


def with_a_number(span: Any) -> None:
    """Have a handler add what is no text."""
    span.set_attribute("rows", 3)


def with_a_reason(span: Any) -> None:
    """Have a handler say why it failed."""
    span.set_status(Status(StatusCode.ERROR, "no rows"))


@pytest.mark.parametrize("add", [lambda _: None, with_everything, with_an_event, with_a_number, with_a_reason])
@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.INTERNAL])
@pytest.mark.parametrize("parent", [None, SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))])
def test_the_span_of_a_call_is_encoded_as_the_sdk_would_whatever_its_handler_adds(
    add: Callable[[Any], None], kind: SpanKind, parent: SpanContext | None
) -> None:
    context = Context() if parent is None else otel.set_span_in_context(otel.NonRecordingSpan(parent))
    span = TRACER.start_span("things.v1.Things/Get", context, kind, {"rpc.system.name": "grpc"})
    add(span)
    span.end()
    assert isinstance(span, ReadableSpan)
    assert Encoder(SCOPE).encoded([span]) == encode_spans([span])


def test_spans_of_others_are_told_under_their_own_tracers_name() -> None:
    span = PROVIDER.get_tracer("database").start_span("SELECT")
    span.end()
    assert isinstance(span, ReadableSpan)
    request = Encoder(SCOPE).encoded([span, span_of_a_call()])
    names = [scope.scope.name for each in request.resource_spans for scope in each.scope_spans]
    assert names == ["database", SCOPE]


def test_secrets_of_handlers_spans_are_not_told() -> None:
    span = TRACER.start_span("work", attributes={"key": KEY})
    span.add_event("failed", {"why": KEY})
    span.set_status(Status(StatusCode.ERROR, KEY))
    span.end()
    assert isinstance(span, ReadableSpan)
    plain = TRACER.start_span("work", attributes={"key": KEY})
    plain.end()
    assert isinstance(plain, ReadableSpan)
    told = str(Encoder(SCOPE).encoded([span, plain]))
    assert "MIGH" not in told
    assert told.count("[redacted]") == 4
