"""What is counted of credentials: which were believed, which were not and why, and how long it took to tell."""

from __future__ import annotations

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter

from secure_rpc.telemetry.call_metrics import MAX_REASONS, OTHER_REASON, BoundedLabel
from secure_rpc.telemetry.durations import DurationHistogram

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
NEW, REMEMBERED = "new", "remembered"
UNKNOWN_ISSUER = "unknown"  # of a token that names none of ours: callers must not be able to add series


class AuthMetrics:
    """The numbers of authentication.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._validations = Counter(
            "secure_rpc_token_validations",
            "Tokens and API keys that were looked into; those that are remembered are not, until they expire.",
            ("issuer",),
            registry=registry,
        )
        self._failures = Counter(
            "secure_rpc_token_validation_failures",
            "Tokens and API keys that were not believed, by the issuer that they name, if it is one of ours.",
            ("issuer", "reason"),
            registry=registry,
        )
        duration = DurationHistogram(
            "secure_rpc_auth_duration_seconds",
            "Time from the headers of a call until its caller is known and allowed, or refused; of remembered callers, "
            "of one call in 64.",
            ("identity",),
            registry=registry,
            buckets=SECONDS,
        )
        self._durations = {kind: duration.counted(kind) for kind in (NEW, REMEMBERED)}
        self._reason = BoundedLabel(MAX_REASONS, OTHER_REASON)
        self._of_issuer = {UNKNOWN_ISSUER: self._validations.labels(UNKNOWN_ISSUER)}
        self._failed: dict[tuple[str, str], Counter] = {}

    def expect(self, issuers: list[str]) -> None:
        """Have the numbers of these issuers begin at zero; all others are counted as one."""
        self._of_issuer.update({issuer: self._validations.labels(issuer) for issuer in issuers})

    def validated(self, issuer: str, failure: str) -> None:
        """Count a credential that was looked into.

        Args:
            issuer: that it names.
            failure: why it was not believed, "" where it was.
        """
        label = issuer if issuer in self._of_issuer else UNKNOWN_ISSUER
        self._of_issuer[label].inc()
        if failure:
            key = label, self._reason(failure)
            failed = self._failed.get(key)
            if failed is None:
                failed = self._failed[key] = self._failures.labels(*key)
            failed.inc()

    def decided(self, identity: str, started_seconds: float) -> None:
        """Note how long it took to know and allow a caller.

        Args:
            identity: `NEW` or `REMEMBERED`.
            started_seconds: when it began, by `time.perf_counter`.
        """
        self._durations[identity].add(perf_counter() - started_seconds)
