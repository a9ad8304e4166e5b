"""The spans of calls, by OpenTelemetry's SDK; imported where traces are kept, entered for calls that are traced.

Names and attributes are those of OpenTelemetry's conventions for RPCs. No message, no metadata, no claim and no name of
a person is among them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from secure_rpc.call import Call, Outcome
from secure_rpc.telemetry.encoding import SCOPE, StepSpan
from secure_rpc.telemetry.exporting import SpanQueue
from secure_rpc.trace_context import Step, Trace

MAX_ATTRIBUTES, MAX_EVENTS, MAX_CHARACTERS = 32, 16, 256  # of a span; of a value
NANOSECONDS = 1_000_000_000
UNKNOWN_METHOD = "_OTHER"  # of what the caller made up
C = grpc.StatusCode
# What a server answers for by its conventions; all else may be the caller's own doing
SERVER_ERRORS = frozenset({C.UNKNOWN, C.DEADLINE_EXCEEDED, C.UNIMPLEMENTED, C.INTERNAL, C.UNAVAILABLE, C.DATA_LOSS})


class Spans:
    """Make spans.

    Args:
        queue: is given each that has ended.
        resource: the attributes of the service.
    """

    def __init__(self, queue: SpanQueue, resource: Mapping[str, str]) -> None:
        self._ids = _Ids()
        limits = SpanLimits(
            max_span_attributes=MAX_ATTRIBUTES, max_events=MAX_EVENTS, max_span_attribute_length=MAX_CHARACTERS
        )
        self.provider = TracerProvider(
            sampler=_Decided(),
            resource=Resource({key: value for key, value in resource.items() if value}),
            id_generator=self._ids,
            span_limits=limits,
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(queue)
        self._queue = queue
        self._tracer = self.provider.get_tracer(SCOPE)

    def make_global(self) -> None:
        """Have the spans of handlers, by `opentelemetry.trace.get_tracer`, end where ours do."""
        otel.set_tracer_provider(self.provider)

    def shutdown(self) -> None:
        """Send what waits, and end."""
        self.provider.shutdown()

    def open(self, call: Call, trace: Trace) -> None:
        """Begin the span of a call, and make it the current one."""
        self._begin(call, trace, time.time_ns())
        trace.steps = []
        trace.token = otel_context.attach(otel.set_span_in_context(trace.span))

    def close(self, call: Call, trace: Trace, outcome: Outcome) -> None:
        """End it, with the steps that were noted."""
        otel_context.detach(trace.token)
        end = time.time_ns()
        offset = end - time.perf_counter_ns()
        for step in trace.steps or ():
            self._step(trace, step, offset, end)
        self._end(call, trace, outcome, end)

    def tell(self, call: Call, trace: Trace, outcome: Outcome, began_seconds: float) -> None:
        """Make the span of a call that has ended, whose caller could not be authenticated."""
        end = time.time_ns()
        offset = end - time.perf_counter_ns()
        self._begin(call, trace, int(began_seconds * NANOSECONDS))
        if call.auth_began is not None:
            step = Step("authentication", call.auth_began[1])
            step.failure = outcome.reason or outcome.code.name
            self._step(trace, step, offset, end)
        self._end(call, trace, outcome, end)

    def _begin(self, call: Call, trace: Trace, start: int) -> None:
        context = Context()
        if trace.is_root:
            self._ids.next_trace_id = int(trace.trace_id, 16)
        else:
            parent = otel.SpanContext(
                int(trace.trace_id, 16),
                int(trace.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
                trace_state=TraceState.from_header([trace.state]) if trace.state else None,
            )
            context = otel.set_span_in_context(otel.NonRecordingSpan(parent), context)
        name = call.method.path[1:] or UNKNOWN_METHOD
        attributes = {"rpc.system.name": "grpc", "rpc.method": name, "secure_rpc.call_id": call.id}
        trace.span = self._tracer.start_span(name, context, SpanKind.SERVER, attributes, start_time=start)
        trace.span_id = f"{trace.span.get_span_context().span_id:016x}"
        trace.flags = "01"

    def _step(self, trace: Trace, step: Step, offset: int, end: int) -> None:
        began = int(step.began * NANOSECONDS) + offset
        ended = int(step.ended * NANOSECONDS) + offset if step.ended else end
        self._queue.add(StepSpan(trace.span, step.name, began, ended, step.failure))

    def _end(self, call: Call, trace: Trace, outcome: Outcome, end: int) -> None:
        span = trace.span
        span.set_attribute("rpc.response.status_code", outcome.code.name)
        if call.rule:
            span.set_attribute("secure_rpc.rule", call.rule)
        if outcome.code is not C.OK:
            span.set_attribute("error.type", outcome.reason or outcome.code.name)
        if outcome.code in SERVER_ERRORS:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


class _Ids(RandomIdGenerator):
    """A trace that begins here has the name that the log has for it already."""

    next_trace_id = 0

    def generate_trace_id(self) -> int:
        found, self.next_trace_id = self.next_trace_id, 0
        return found or super().generate_trace_id()


class _Decided(Sampler):
    """Calls that come here are kept, that was decided; other spans if they are part of one that is."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,  # noqa: ARG002
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        parent = otel.get_current_span(parent_context).get_span_context()
        keep = kind is SpanKind.SERVER or (parent.is_valid and parent.trace_flags.sampled)
        return SamplingResult(
            Decision.RECORD_AND_SAMPLE if keep else Decision.DROP, attributes if keep else None, parent.trace_state
        )

    def get_description(self) -> str:
        return "decided before"
