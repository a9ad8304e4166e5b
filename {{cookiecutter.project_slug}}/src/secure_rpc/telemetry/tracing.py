"""Which calls are traced. That is decided before OpenTelemetry is entered: other calls cost no more than the look.

A trace that begins elsewhere is kept if the caller kept its part; one that begins here, by a share. Calls whose caller
could not be authenticated always are. The last two words are bounded by a rate, so that no caller can make all calls
dear.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import grpc

from secure_rpc.call import Call, Outcome
from secure_rpc.telemetry.tracing_metrics import TracingMetrics
from secure_rpc.telemetry.tracing_settings import Tracing as TracingSettings
from secure_rpc.trace_context import Trace, follow


class SpanMaker(Protocol):
    """Makes the spans of calls that are traced; `telemetry.spans` has the one by OpenTelemetry."""

    def open(self, call: Call, trace: Trace) -> None:
        """Begin the span of a call, and make it the current one."""

    def close(self, call: Call, trace: Trace, outcome: Outcome) -> None:
        """End it, with the steps that were noted."""

    def tell(self, call: Call, trace: Trace, outcome: Outcome, began_seconds: float) -> None:
        """Make the span of a call that has ended; when it began is told in Unix time."""

    def make_global(self) -> None:
        """Have the spans of handlers end where ours do."""

    def shutdown(self) -> None:
        """Send what waits, and end."""


class Budget:
    """So many a second, at once or spread.

    Args:
        per_second: how many.
        clock: gives seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = per_second
        self._at = clock()

    def take(self) -> bool:
        """Tell whether there is one left, and take it."""
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, max(self._per_second, 1.0))
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class NoTracing:
    """Keep no traces; but hand on those that pass, and let the log name them."""

    keeps = False

    def begin(self, call: Call) -> Trace | None:
        """Return the trace that a call is part of."""
        return follow(call.metadata)

    def end(self, call: Call, trace: Trace | None, outcome: Outcome, began_seconds: float) -> None:
        """Do nothing with it."""

    def make_global(self) -> None:
        """Have the spans of handlers kept, too: once for the process."""

    async def close(self) -> None:
        """Send what waits."""


class Tracing(NoTracing):
    """Decide which calls are traced.

    Args:
        settings: of tracing.
        spans: makes their spans.
        metrics: what is not kept is counted there.
        chance: gives a random number below 1.
        clock: gives seconds, for what is bounded by a rate.
    """

    keeps = True

    def __init__(
        self,
        settings: TracingSettings,
        spans: SpanMaker,
        metrics: TracingMetrics,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ratio = settings.sample_ratio
        self._with_baggage = settings.propagate_baggage
        self._spans = spans
        self._not_kept = metrics.not_kept
        self._chance = chance
        self._callers, self._failures = (Budget(settings.max_sampled_per_second, clock) for _ in range(2))

    def begin(self, call: Call) -> Trace:
        """Return the trace that a call is part of, its span begun if it is kept."""
        trace = follow(call.metadata, with_baggage=self._with_baggage)
        if trace is None:
            trace = Trace()
            keep = self._chance() < self._ratio
        else:
            keep = trace.is_sampled_by_caller
            if keep and not self._callers.take():
                keep = False
                self._not_kept["caller"].inc()
        if keep:
            self._spans.open(call, trace)
        return trace

    def end(self, call: Call, trace: Trace | None, outcome: Outcome, began_seconds: float) -> None:
        """End the span of a call, or make it if the caller could not be authenticated."""
        if trace is None:
            return
        if trace.span is not None:
            self._spans.close(call, trace, outcome)
        elif outcome.code is grpc.StatusCode.UNAUTHENTICATED:
            if self._failures.take():
                self._spans.tell(call, trace, outcome, began_seconds)
            else:
                self._not_kept["failure"].inc()

    def make_global(self) -> None:
        """Have the spans of handlers kept, too: once for the process."""
        self._spans.make_global()

    async def close(self) -> None:
        """Send what waits."""
        await asyncio.to_thread(self._spans.shutdown)


def tracing_of(settings: TracingSettings, metrics: TracingMetrics, resource: Mapping[str, str]) -> NoTracing:
    """Return what decides which calls are traced; without an endpoint, nothing of OpenTelemetry's is imported.

    Args:
        settings: of tracing.
        metrics: where spans are counted.
        resource: the attributes of the service.

    Raises:
        ConfigurationError: a file for TLS cannot be read, or is no good.
    """
    if not settings.otlp_endpoint:
        return NoTracing()
    from secure_rpc.telemetry.exporting import SpanQueue  # noqa: PLC0415  # see above
    from secure_rpc.telemetry.spans import Spans  # noqa: PLC0415

    return Tracing(settings, Spans(SpanQueue(settings, metrics), resource), metrics)
