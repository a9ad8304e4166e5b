"""Outermost: sees every outcome. Counts, times and logs each call."""

from __future__ import annotations

from time import perf_counter

import grpc

from secure_rpc.call import Call, Method, Outcome
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.telemetry.calls import CallRecord, CallReporter
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

    def bind(self, method: Method) -> Middleware:
        """Report every method, also those that do not exist."""
        add, counted = self._reporter.add, self._metrics_of(method)
        begin, end = self._tracing.begin, self._tracing.end
        lasts = method.request_streaming or method.response_streaming

        async def report(call: Call, proceed: Proceed) -> None:
            started = perf_counter()
            self._in_flight += 1
            counted.started += 1
            trace = call.trace = begin(call)
            error: BaseException | None = None
            try:
                await proceed(call)
            except BaseException as caught:
                error = caught
                raise
            finally:
                self._in_flight -= 1
                outcome = call.outcome(error)
                end(call, trace, outcome, started)
                add(
                    CallRecord(
                        method,
                        call.path,
                        call.id,
                        call.principal,
                        call.workload,
                        call.tenant,
                        call.rule,
                        call.address,
                        outcome.code,
                        outcome.reason,
                        perf_counter() - started,
                        trace.trace_id if trace is not None else "",
                        trace is not None and trace.span is not None,
                        ended_by_auth=lasts and outcome.code in REFUSED_BY_AUTH and _had_begun(call, outcome),
                    )
                )

        return report


def _had_begun(call: Call, outcome: Outcome) -> bool:
    """Tell whether a call that was refused as those of strangers are had been let in before."""
    if call.refusal is not None:  # it was cut, or one of its messages was refused; a handler's own gives no reason
        return bool(call.refusal.reason)
    return outcome.code is grpc.StatusCode.UNAUTHENTICATED and call.principal is not None and bool(outcome.reason)
