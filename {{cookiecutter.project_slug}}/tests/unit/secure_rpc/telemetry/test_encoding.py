"""Steps of a call are told to a collector as the SDK's own spans would be."""

from __future__ import annotations

import pytest
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, TraceState

from secure_rpc.telemetry.encoding import Encoder, StepSpan

PROVIDER = TracerProvider(resource=Resource({"service.name": "things"}), shutdown_on_exit=False)
TRACER = PROVIDER.get_tracer("secure_rpc")
KEY = "-----BEGIN PRIVATE KEY-----MIGH-----END PRIVATE KEY-----"


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
    [found] = Encoder().encoded([step]).resource_spans
    expected = of_the_sdk(parent, step)
    assert len(the_span(found).span_id) == 8
    the_span(found).span_id = the_span(expected).span_id = b""
    assert found == expected


def test_spans_and_steps_go_together_and_the_encoder_keeps_none_of_them() -> None:
    encoder, parent = Encoder(), span_of_a_call()
    for _ in range(2):
        request = encoder.encoded([StepSpan(parent, "policy", 1, 2), StepSpan(parent, "quota", 2, 3), parent])
        names = [[span.name for scope in each.scope_spans for span in scope.spans] for each in request.resource_spans]
        assert names == [["things.v1.Things/Get"], ["policy", "quota"]]
        ids = [span.span_id for each in request.resource_spans for span in each.scope_spans[0].spans]
        assert len(set(ids)) == 3


def test_secrets_of_handlers_spans_are_not_told() -> None:
    span = TRACER.start_span("work", attributes={"key": KEY})
    span.add_event("failed", {"why": KEY})
    span.set_status(Status(StatusCode.ERROR, KEY))
    span.end()
    assert isinstance(span, ReadableSpan)
    told = str(Encoder().encoded([span]))
    assert "MIGH" not in told
    assert told.count("[redacted]") == 3
