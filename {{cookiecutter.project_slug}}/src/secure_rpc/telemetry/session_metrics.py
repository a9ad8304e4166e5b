"""The numbers of streams that last: how many there are, what ends them, how they are extended."""

from __future__ import annotations

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Counter, Gauge

from secure_rpc.errors import StatusError

EXPIRED_REASONS = frozenset({"TOKEN_EXPIRED", "CERTIFICATE_EXPIRED"})
ENDS = ("expired", "revoked", "policy", "unknown")
REFRESHES = ("extended", "unchanged", "not_found", "denied", "unavailable")


class SessionMetrics:
    """Metrics of sessions.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.live = Gauge(
            "secure_rpc_sessions_live",
            "Streams that are under way and end with their credential.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.ended = Counter(
            "secure_rpc_streams_ended",
            "Streams that were cut: their credential has ended or is revoked, the policy does not allow them any more, "
            "or that cannot be told.",
            ("reason",),
            registry=registry,
        )
        self.refreshes = Counter(
            "secure_rpc_session_refreshes",
            "Calls that were to extend a session, by how they ended.",
            ("result",),
            registry=registry,
        )
        for reason in ENDS:  # zeros show before the first
            self.ended.labels(reason)
        for result in REFRESHES:
            self.refreshes.labels(result)

    def cut(self, error: StatusError) -> None:
        """Count a stream that was cut."""
        self.ended.labels(_why(error)).inc()


def _why(error: StatusError) -> str:
    if error.reason in EXPIRED_REASONS:
        return "expired"
    if error.code is StatusCode.UNAUTHENTICATED:
        return "revoked"
    return "policy" if error.code is StatusCode.PERMISSION_DENIED else "unknown"
