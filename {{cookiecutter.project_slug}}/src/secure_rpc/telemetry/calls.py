"""What is told of each call: its duration in a histogram, its refusal in a counter, a line in the log."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import NamedTuple

import grpc

from secure_rpc.batching import Batch
from secure_rpc.call import Method, Principal
from secure_rpc.telemetry.call_metrics import MTLS_REASONS
from secure_rpc.telemetry.logging import Line, log_together
from secure_rpc.telemetry.metrics import Metrics

SERVER_FAULTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})

LOGGER = "secure_rpc.calls"


class CallRecord(NamedTuple):
    """A call that has ended, as cheaply as it can be noted."""

    method: Method
    path: str
    call_id: str
    principal: Principal | None
    workload: str  # of the certificate, also where there is no principal
    tenant: str
    rule: str
    peer: str
    code: grpc.StatusCode
    reason: str
    duration_seconds: float
    trace_id: str = ""
    is_traced: bool = False  # a trace is kept of it
    ended_by_auth: bool = False  # a stream that had begun


class CallReporter:
    """Turn records into metrics and log lines, in batches.

    Args:
        metrics: where to count.
        allowed_sample: the share of calls that ended well which is logged, 0 to 1; all others always are.
        chance: gives a random number below 1.
    """

    def __init__(
        self, metrics: Metrics, allowed_sample: float = 1.0, chance: Callable[[], float] = random.random
    ) -> None:
        self._of = metrics.calls.of
        self._certificate_refused = metrics.handshakes.certificate_refused
        self._allowed_sample = allowed_sample
        self._chance = chance
        self._batch = Batch(self._report)
        metrics.before_scrape(self._batch.flush)
        self.add = self._batch.add
        self.flush = self._batch.flush

    def _report(self, records: list[CallRecord]) -> None:
        lines = [_line(record) for record in records if self._is_logged(record)]
        if lines:
            log_together(LOGGER, lines)

    def _is_logged(self, record: CallRecord) -> bool:
        """Count a call, and tell whether a line is to tell of it."""
        counted = self._of(record.method)
        counted.ended(record.code, record.duration_seconds, record.trace_id if record.is_traced else "")
        if record.code is grpc.StatusCode.OK:
            return self._allowed_sample >= 1.0 or self._chance() < self._allowed_sample
        counted.refused(record.code, record.reason, ended_by_auth=record.ended_by_auth)
        if record.reason.startswith(MTLS_REASONS):
            self._certificate_refused(record.reason)
        return True


def _line(record: CallRecord) -> Line:
    level = logging.ERROR if record.code in SERVER_FAULTS else logging.WARNING
    fields = {
        "method": record.path,
        "kind": record.method.kind,
        "code": record.code.name,
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
    return Line(logging.INFO if record.code is grpc.StatusCode.OK else level, "call", fields)
