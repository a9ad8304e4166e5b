"""Spans as OTLP has them: the platform's own directly, those of handlers and libraries by OpenTelemetry's encoder.

A step of a call has begun and ended, with one attribute at most. The SDK's span for it, and the encoder that looks into
all that a span may have, would be most of what a traced call costs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from secure_rpc.telemetry.redaction import scrub

SCOPE = "secure_rpc"  # the name of the platform's tracer
KINDS = {kind: Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
STATUSES = {code: Status.StatusCode.Value(f"STATUS_CODE_{code.name}") for code in StatusCode}
FLAGS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK  # of a span whose parent is of this process


class StepSpan(NamedTuple):
    """A step of a call, once it is over."""

    parent: ReadableSpan  # of the call
    name: str
    began: int  # Unix time, in nanoseconds
    ended: int
    failure: str = ""


class Encoder:
    """Make requests for a collector.

    Args:
        scope: the name of the platform's tracer; all of its spans are of one service.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._ours: ResourceSpans | None = None  # with no span in it

    def encoded(self, batch: Sequence[ReadableSpan | StepSpan]) -> ExportTraceServiceRequest:
        """Return the request that tells of spans, without secrets that handlers have put into theirs."""
        ours, others, one_of_ours = [], [], None
        for each in batch:
            if isinstance(each, StepSpan):
                ours.append(_of_step(each))
                one_of_ours = each.parent
            elif self._is_plain(each) and each.context is not None:
                ours.append(_of_call(each, each.context))
                one_of_ours = each
            else:
                others.append(each)
        request: ExportTraceServiceRequest = encode_spans(others)
        _scrub(request)
        if one_of_ours is not None:
            if self._ours is None:
                [self._ours] = encode_spans([one_of_ours]).resource_spans
                del self._ours.scope_spans[0].spans[:]
            found = request.resource_spans.add()
            found.CopyFrom(self._ours)
            found.scope_spans[0].spans.extend(ours)
        return request

    def _is_plain(self, span: ReadableSpan) -> bool:
        """Tell whether a span is the platform's own, with nothing in it but what the platform puts there."""
        scope = span.instrumentation_scope
        if scope is None or scope.name != self._scope or span.events or span.links or span.status.description:
            return False
        return not span.dropped_attributes and all(type(value) is str for value in (span.attributes or {}).values())


def _of_step(step: StepSpan) -> Span:
    context = step.parent.context
    span = _span(step.name, context, context.span_id, step.began, step.ended)
    span.span_id = random.randbytes(8)  # noqa: S311  # a name, no secret
    if step.failure:
        span.attributes.append(KeyValue(key="error.type", value=AnyValue(string_value=step.failure)))
        span.status.code = Status.STATUS_CODE_ERROR
    return span


def _of_call(call: ReadableSpan, context: SpanContext) -> Span:
    parent = call.parent
    span = _span(call.name, context, 0 if parent is None else parent.span_id, call.start_time or 0, call.end_time or 0)
    span.span_id = context.span_id.to_bytes(8, "big")
    span.kind = KINDS[call.kind]
    if parent is not None and parent.is_remote:
        span.flags |= SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    span.status.code = STATUSES[call.status.status_code]
    span.attributes.extend(
        KeyValue(key=key, value=AnyValue(string_value=scrub(str(value))))
        for key, value in (call.attributes or {}).items()
    )
    return span


def _span(name: str, context: SpanContext, parent_id: int, began: int, ended: int) -> Span:
    return Span(
        trace_id=context.trace_id.to_bytes(16, "big"),
        parent_span_id=parent_id.to_bytes(8, "big") if parent_id else b"",
        trace_state=context.trace_state.to_header() if context.trace_state else "",
        name=name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=began,
        end_time_unix_nano=ended,
        status=Status(),
        flags=FLAGS,
    )


def _scrub(request: ExportTraceServiceRequest) -> None:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                for attributes in (span.attributes, *(event.attributes for event in span.events)):
                    for attribute in attributes:
                        if attribute.value.HasField("string_value"):
                            attribute.value.string_value = scrub(attribute.value.string_value)
                span.status.message = scrub(span.status.message)
