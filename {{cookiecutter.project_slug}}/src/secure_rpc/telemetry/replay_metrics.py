"""What is counted of calls that were made before."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class ReplayMetrics:
    """The numbers of calls that were made before and did no harm.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = Counter(
            "secure_rpc_idempotent_answers",
            "Calls that were answered as they had been before, by their idempotency key, without being run again.",
            registry=registry,
        )
        self.answered = counter.inc
