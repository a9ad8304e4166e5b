"""The numbers of the service, by Prometheus' client; names follow OpenTelemetry's RPC conventions and gRFC A66.

Labels come from what the server knows beforehand (methods, codes, reasons of ours), never from what callers send.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

from secure_rpc.telemetry.auth_metrics import AuthMetrics
from secure_rpc.telemetry.call_metrics import SECONDS, CallMetrics
from secure_rpc.telemetry.handshakes import HandshakeMetrics
from secure_rpc.telemetry.process_metrics import ProcessMetrics
from secure_rpc.telemetry.quota_metrics import QuotaMetrics
from secure_rpc.telemetry.replay_metrics import ReplayMetrics
from secure_rpc.telemetry.session_metrics import SessionMetrics
from secure_rpc.telemetry.tracing_metrics import TracingMetrics


class Metrics:
    """All metrics of one service; a registry of their own, so that two servers can live in one process.

    A gauge's `multiprocess_mode` says how those of several workers become one: see `telemetry.aggregation`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.handshakes = HandshakeMetrics(self.registry)
        self.sessions = SessionMetrics(self.registry)
        self.quotas = QuotaMetrics(self.registry)
        self.replay = ReplayMetrics(self.registry)
        self.calls = CallMetrics(self.registry)
        self.auth = AuthMetrics(self.registry)
        self.process = ProcessMetrics(self.registry)
        self.tracing = TracingMetrics(self.registry)
        self.identity_cache = Gauge(
            "secure_rpc_identity_cache_uses",
            "Look-ups of verified identities since the start, by how they ended.",
            ("result",),
            registry=self.registry,
            multiprocess_mode="sum",
        )
        self.issuer_fetches = Gauge(
            "secure_rpc_issuer_key_fetches",
            "Fetches of an issuer's keys since the start, by how they ended.",
            ("issuer", "result"),
            registry=self.registry,
            multiprocess_mode="sum",
        )
        self.issuer_keys_age = Gauge(
            "secure_rpc_issuer_keys_age_seconds",
            "Age of an issuer's keys.",
            ("issuer",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.introspection = Histogram(
            "secure_rpc_introspection_duration_seconds",
            "Time that an issuer took to answer about a token.",
            registry=self.registry,
            buckets=SECONDS,
        )
        self.api_key_failures = Counter(
            "secure_rpc_api_key_file_failures",
            "Changes of the file of API keys that could not be read; the keys before them still count.",
            registry=self.registry,
        )
        self.policy_reloads = Counter(
            "secure_rpc_policy_reloads",
            "Changes of the policy's files, by whether they were taken up; where not, the policy before goes on.",
            ("result",),
            registry=self.registry,
        )
        for result in ("ok", "refused"):  # zeros show before the first
            self.policy_reloads.labels(result)
        self.policy_loaded = Gauge(
            "secure_rpc_policy_loaded_timestamp_seconds",
            "Unix time at which the policy was last taken up.",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.policy_condition_failures = Counter(
            "secure_rpc_policy_condition_failures",
            "Conditions of the policy that could not be evaluated, and so denied.",
            registry=self.registry,
        )
        self.policy_differences = Counter(
            "secure_rpc_policy_shadow_differences",
            "Decisions in which the candidate policy would allow or deny otherwise than the active one.",
            ("grpc_method", "direction"),
            registry=self.registry,
        )
        self.policy_rollout = Gauge(
            "secure_rpc_policy_rollout_percent",
            "Share of callers that the candidate policy decides for.",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.policy_rollbacks = Counter(
            "secure_rpc_policy_rollbacks",
            "Candidate policies that refused too much and were taken back.",
            registry=self.registry,
        )
        self.audit_records = Counter("secure_rpc_audit_records", "Audit records written.", registry=self.registry)
        self.audit_failures = Counter(
            "secure_rpc_audit_write_failures", "Failed attempts to write audit records.", registry=self.registry
        )
        self.certificate_expiry = Gauge(
            "secure_rpc_certificate_not_after_timestamp_seconds",
            "Unix time at which a certificate in use expires.",
            ("certificate",),
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.certificate_reloads = Counter(
            "secure_rpc_certificate_reloads",
            "Changes of the server's certificate files, by whether they were taken up; where not, those before go on.",
            ("result",),
            registry=self.registry,
        )
        self.revocation_reloads = Counter(
            "secure_rpc_revocation_reloads",
            "Changes of a deny-list or a CRL, by whether they were taken up; where not, the one before goes on.",
            ("result",),
            registry=self.registry,
        )
        self.revocations = Gauge(
            "secure_rpc_revocations",
            "What is revoked, by the kind of list.",
            ("list",),
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.malformed_revocations = Gauge(
            "secure_rpc_revocations_malformed",
            "What stands on a list of revocations and does not count, for it is malformed.",
            ("list",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.revocations_age = Gauge(
            "secure_rpc_revocations_age_seconds",
            "Time since a list of revocations was confirmed to be the newest.",
            ("list",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.store_reachable = Gauge(
            "secure_rpc_store_reachable",
            "Whether the store that the replicas share answered the last time it was asked.",
            ("store",),
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.store_failures = Counter(
            "secure_rpc_store_failures",
            "Attempts to have something done by the store that the replicas share, which failed.",
            ("store",),
            registry=self.registry,
        )
        self.crl_next_update = Gauge(
            "secure_rpc_crl_next_update_timestamp_seconds",
            "Unix time by which the CRL of a CA should be followed by another.",
            ("issuer",),
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.key_exchange_groups = Counter(
            "secure_rpc_tls_key_exchange_groups",
            "Callers that were verified anew, by the group in which their connection's keys were agreed.",
            ("group",),
            registry=self.registry,
        )
        self._refreshers: list[Callable[[], None]] = []

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have something done before the numbers are read, such as flushing a batch."""
        self._refreshers.append(refresh)

    def refresh(self) -> None:
        """Do what was asked to be done before the numbers are read."""
        for refresh in self._refreshers:
            refresh()
        self.calls.refresh()
        self.process.refresh()

    def render(self) -> bytes:
        """Return all numbers in the OpenMetrics text format."""
        self.refresh()
        text: bytes = generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text
