"""Outermost: sees every outcome. Counts, times and logs each call."""

from __future__ import annotations

import grpc

from secure_rpc.call import Call, Method, Outcome
from secure_rpc.observing import CallRecord, NotedCall, Observer
from secure_rpc.outcome import ENDED_WELL
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.telemetry.tracing import NoTracing

REFUSED_BY_AUTH = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


class Telemetry:
    """Report each call.

    Args:
        metrics: for the number of calls in flight.
        reporter: for what is told of a call when it has ended.
        tracing: decides which calls are traced; none: no trace is kept.
    """

    def __init__(self, metrics: Metrics, reporter: CallReporter, tracing: NoTracing | None = None) -> None:
        self._in_flight = 0
        self._metrics_of = metrics.calls.of
        self._reporter = reporter
        self._tracing = tracing or NoTracing()
        metrics.before_scrape(lambda: metrics.calls.in_flight.set(self._in_flight))

    def bind(self, method: Method) -> Observer:
        """Report every method, also those that do not exist."""
        add, counted = self._reporter.add, self._metrics_of(method)
        begin_trace, end_trace = self._tracing.begin, self._tracing.end
        lasts = method.request_streaming or method.response_streaming

        def begin(call: Call) -> None:
            self._in_flight += 1
            counted.started += 1
            call.trace = begin_trace(call)

        def end(call: Call, noted: NotedCall, outcome: Outcome) -> None:
            self._in_flight -= 1
            trace, is_traced, by_auth = call.trace, False, False
            if trace is not None and (trace.span is not None or outcome is not ENDED_WELL):
                end_trace(call, trace, outcome, CallRecord(*noted).time_seconds)
                is_traced = trace.span is not None
            if outcome is not ENDED_WELL:
                by_auth = lasts and outcome.code in REFUSED_BY_AUTH and _had_begun(call, outcome)
            add((counted, noted, is_traced, by_auth))

        return Observer(begin, end)


def _had_begun(call: Call, outcome: Outcome) -> bool:
    """Tell whether a call that was refused as those of strangers are had been let in before."""
    if call.refusal is not None:  # it was cut, or one of its messages was refused; a handler's own gives no reason
        return bool(call.refusal.reason)
    return outcome.code is grpc.StatusCode.UNAUTHENTICATED and call.principal is not None and bool(outcome.reason)
