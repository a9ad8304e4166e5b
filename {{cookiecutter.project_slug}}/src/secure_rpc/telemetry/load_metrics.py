"""The numbers of the load limit; refusals by reason are among those of `secure_rpc_refusals`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class LoadMetrics:
    """What the server takes on at once.

    Args:
        registry: where the numbers are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.limit = Gauge(
            "secure_rpc_load_limit_calls",
            "Calls that are let in at once, as the limit is now.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.fair_limit = Gauge(
            "secure_rpc_load_fair_limit_calls",
            "Calls that peers which ask most often may have at once, together, while others ask, too.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.lag = Gauge(
            "secure_rpc_load_lag_seconds",
            "Time that work waits for its turn in the event loop; the least of the last few measurements.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.delayed = Gauge(
            "secure_rpc_delayed_refusals",
            "Refused calls that are held for a moment before they are answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.refusals = Counter(
            "secure_rpc_load_refusals", "Calls refused for load, by reason.", ("reason",), registry=registry
        )
