"""What is counted of traces: what was sent, what was lost, what was not kept though it was asked for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

LOST = ("queue_full", "export_failed", "rejected")
NOT_KEPT = ("caller", "failure")


class TracingMetrics:
    """The numbers of traces.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.exported = Counter("secure_rpc_spans_exported", "Spans that the collector has taken.", registry=registry)
        lost = Counter("secure_rpc_spans_lost", "Spans that never came to it.", ("cause",), registry=registry)
        not_kept = Counter(
            "secure_rpc_traces_not_kept",
            "Calls that were not traced for there were too many of them: callers asked for it, or failed to "
            "authenticate.",
            ("asked_by",),
            registry=registry,
        )
        self.lost = {cause: lost.labels(cause) for cause in LOST}
        self.not_kept = {by: not_kept.labels(by) for by in NOT_KEPT}
