"""The numbers of quotas that are counted in the shared store."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class QuotaMetrics:
    """What the store is asked, and what is decided without it.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._without_store = Counter(
            "secure_rpc_quota_decisions_without_store",
            "Calls whose quota was decided on while the shared store was away, by how.",
            ("result",),
            registry=registry,
        )
        self.round_trips = Gauge(
            "secure_rpc_quota_round_trips",
            "Questions about quotas that the shared store was asked since the start, each about several calls.",
            registry=registry,
            multiprocess_mode="sum",
        )
        for result in ("allowed", "refused"):  # zeros show before the first
            self._without_store.labels(result)

    def decided_without_store(self, allowed: bool) -> None:  # noqa: FBT001  # as it is told
        """Count a decision."""
        self._without_store.labels("allowed" if allowed else "refused").inc()
