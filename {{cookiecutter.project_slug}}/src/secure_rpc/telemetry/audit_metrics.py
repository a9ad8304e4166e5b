"""The numbers of the audit: where its chain has come to, and what went wrong with it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AuditMetrics:
    """Count what becomes of audit records.

    Args:
        registry: where the numbers are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("secure_rpc_audit_records", "Records of calls written.", registry=registry)
        self.failures = Counter(
            "secure_rpc_audit_write_failures", "Failed attempts to write audit records.", registry=registry
        )
        self.archive_failures = Counter(
            "secure_rpc_audit_archive_failures",
            "Closed audit files that could not be compressed, encrypted or deleted when it was their time.",
            registry=registry,
        )
        self.sequence = Gauge(
            "secure_rpc_audit_sequence",
            "Number of the last line on disk, by chain; each worker has one.",
            ("chain",),
            registry=registry,
            multiprocess_mode="livemax",
        )
