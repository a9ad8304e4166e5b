"""Outermost: sees every outcome. Counts, times and logs each call."""

from __future__ import annotations

from time import perf_counter

from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.telemetry.calls import CallRecord, CallReporter
from secure_rpc.telemetry.metrics import Metrics


class Telemetry:
    """Report each call.

    Args:
        metrics: for the number of calls in flight.
        reporter: for what is told of a call when it has ended.
    """

    def __init__(self, metrics: Metrics, reporter: CallReporter) -> None:
        self._in_flight = 0
        self._reporter = reporter
        metrics.before_scrape(lambda: metrics.calls_in_flight.set(self._in_flight))

    def bind(self, method: Method) -> Middleware:
        """Report every method, also those that do not exist."""
        add = self._reporter.add

        async def report(call: Call, proceed: Proceed) -> None:
            started = perf_counter()
            self._in_flight += 1
            error: BaseException | None = None
            try:
                await proceed(call)
            except BaseException as caught:
                error = caught
                raise
            finally:
                self._in_flight -= 1
                outcome = call.outcome(error)
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
                    )
                )

        return report
