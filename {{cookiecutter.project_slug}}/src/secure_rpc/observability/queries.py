"""What the queries of several dashboards have in common."""

from __future__ import annotations

from secure_rpc.observability.panels import GREEN, RED

EXECUTIVE, ON_CALL, DEBUG = "secure-rpc-executive", "secure-rpc-on-call", "secure-rpc-debug"
OF = '{job="$job"}'
DAY_SECONDS = 86400
BAD_ABOVE_ZERO = ((GREEN, None), (RED, 0.000001))
GOOD_FROM_ONE = ((RED, None), (GREEN, 1.0))


def rate(metric: str) -> str:
    """Return how much a counter of the service grows in a second."""
    return f"rate({metric}{OF}[$__rate_interval])"
