"""What is told of each call: its duration in a histogram, its refusal in a counter, a line in the log."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeAlias

from secure_rpc.batching import Batch
from secure_rpc.observing import CallRecord, NotedCall
from secure_rpc.telemetry.call_metrics import MTLS_REASONS, MethodMetrics
from secure_rpc.telemetry.logging import Line, log_together
from secure_rpc.telemetry.metrics import Metrics

SERVER_FAULTS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})

LOGGER = "secure_rpc.calls"

# Whose numbers it counts for; the call; whether a trace is kept of it; whether it was a stream that had begun, and was
# ended since its caller is not let in any more
Told: TypeAlias = tuple[MethodMetrics, NotedCall, bool, bool]


class CallReporter:
    """Turn calls into metrics and log lines, in batches.

    Args:
        metrics: where to count.
        allowed_sample: the share of calls that ended well which is logged, 0 to 1; all others always are.
        chance: gives a random number below 1.
    """

    def __init__(
        self, metrics: Metrics, allowed_sample: float = 1.0, chance: Callable[[], float] = random.random
    ) -> None:
        self._certificate_refused = metrics.handshakes.certificate_refused
        self._allowed_sample = allowed_sample
        self._chance = chance
        self._batch = Batch(self._report)
        metrics.before_scrape(self._batch.flush)
        self.add = self._batch.add
        self.flush = self._batch.flush

    def _report(self, told: list[Told]) -> None:
        """Count calls, and write the lines of those that a line is to tell of."""
        lines = []
        for counted, noted, is_traced, ended_by_auth in told:
            *_, code, reason, duration_seconds, _fields, _policy, trace_id = noted
            counted.ended(code, duration_seconds, trace_id if is_traced else "")
            if code != "OK":
                counted.refused(code, reason, ended_by_auth=ended_by_auth)
                if reason.startswith(MTLS_REASONS):
                    self._certificate_refused(reason)
            elif self._allowed_sample < 1.0 and self._chance() >= self._allowed_sample:
                continue
            lines.append(_line(CallRecord(*noted)))
        if lines:
            log_together(LOGGER, lines)


def _line(record: CallRecord) -> Line:
    level = logging.ERROR if record.code in SERVER_FAULTS else logging.WARNING
    fields = {
        "method": record.method,
        "kind": record.kind,
        "code": record.code,
        "reason": record.reason,
        "principal": record.principal.name if record.principal is not None else "",
        "workload": record.workload,
        "tenant": record.tenant,
        "rule": record.rule,
        "peer": record.peer,
        "call_id": record.call_id,
        "trace_id": record.trace_id,
        "latency_ms": round(record.duration_seconds * 1000, 3),
    }
    return Line(logging.INFO if record.code == "OK" else level, "call", fields)
