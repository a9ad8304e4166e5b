"""Spans as OTLP has them: handlers' and calls' by OpenTelemetry's encoder, the platform's own steps of a call directly.

A step has begun and ended, with two attributes at most. The SDK's span for it, and the encoder that looks into all that
a span may have, would be most of what a traced call costs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan

from secure_rpc.telemetry.redaction import scrub

FLAGS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK  # of a span whose parent is of this process


class StepSpan(NamedTuple):
    """A step of a call, once it is over."""

    parent: ReadableSpan  # of the call
    name: str
    began: int  # Unix time, in nanoseconds
    ended: int
    failure: str = ""


class Encoder:
    """Make requests for a collector; all steps are of one service."""

    def __init__(self) -> None:
        self._of_steps: ResourceSpans | None = None  # with no span in it

    def encoded(self, batch: Sequence[ReadableSpan | StepSpan]) -> ExportTraceServiceRequest:
        """Return the request that tells of spans, without secrets that handlers have put into theirs."""
        request: ExportTraceServiceRequest = encode_spans([each for each in batch if isinstance(each, ReadableSpan)])
        _scrub(request)
        if steps := [each for each in batch if isinstance(each, StepSpan)]:
            request.resource_spans.append(self._steps(steps))
        return request

    def _steps(self, steps: Sequence[StepSpan]) -> ResourceSpans:
        if self._of_steps is None:
            [self._of_steps] = encode_spans([steps[0].parent]).resource_spans
            del self._of_steps.scope_spans[0].spans[:]
        found = ResourceSpans()
        found.CopyFrom(self._of_steps)
        found.scope_spans[0].spans.extend(_spans(steps))
        return found


def _spans(steps: Sequence[StepSpan]) -> Iterable[Span]:
    for step in steps:
        context = step.parent.context
        span = Span(
            trace_id=context.trace_id.to_bytes(16, "big"),
            span_id=random.randbytes(8),  # noqa: S311  # a name, no secret
            parent_span_id=context.span_id.to_bytes(8, "big"),
            name=step.name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=step.began,
            end_time_unix_nano=step.ended,
            status=Status(),
            flags=FLAGS,
        )
        if context.trace_state:
            span.trace_state = context.trace_state.to_header()
        if step.failure:
            span.attributes.append(KeyValue(key="error.type", value=AnyValue(string_value=step.failure)))
            span.status.code = Status.STATUS_CODE_ERROR
        yield span


def _scrub(request: ExportTraceServiceRequest) -> None:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                for attributes in (span.attributes, *(event.attributes for event in span.events)):
                    for attribute in attributes:
                        if attribute.value.HasField("string_value"):
                            attribute.value.string_value = scrub(attribute.value.string_value)
                span.status.message = scrub(span.status.message)
