"""The alerts: what wakes somebody, what makes a ticket, and the series that show it in a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from secure_rpc.observability.objectives import Promises

Severity = Literal["page", "ticket", "none"]
_FORGED = (
    "TOKEN_SIGNATURE_WRONG|TOKEN_BOUND_TO_ANOTHER_CERTIFICATE|TOKEN_NOT_BOUND"  # counted where they are looked into
)
_TAMPERED = (  # calls whose own proof was wrong, or that were made before: counted as refusals, by what is recorded
    "PROOF_BODY_ALTERED|PROOF_FOR_ANOTHER_METHOD|PROOF_FOR_ANOTHER_SERVICE|PROOF_KEY_OF_ANOTHER|PROOF_SIGNATURE_WRONG|"
    "PROOF_TOKEN_SWAPPED|REPLAYED"
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert: `value` compared with `bound`.

    `JOB` stands for the selector of the service's series; `[value]` and `[labels.job]` in texts for what Prometheus
    puts there.
    """

    name: str
    severity: Severity
    value: str
    bound: str  # "> 0"
    for_: str  # how long it must be so: "5m"
    summary: str
    meaning: str
    told: str  # the summary, in the test
    series: tuple[tuple[str, str], ...]  # of a test: under these it fires
    labels: tuple[tuple[str, str], ...] = ()  # that it fires with, besides job and severity
    fires_after: str = "0s"  # after the beginning of the series it is so for the first time

    @property
    def expression(self) -> str:
        """Return what is asked."""
        return f"{self.value} {self.bound}".replace("FORGED", _FORGED).replace("TAMPERED", _TAMPERED)


def alerts(promises: Promises) -> tuple[Alert, ...]:
    """Return all alerts but those on error budgets.

    Args:
        promises: of the service.
    """
    limits = promises.thresholds
    hour = 3600
    return (
        Alert(
            "ServiceDown",
            "page",
            "up{JOB}",
            "== 0",
            "2m",
            "[labels.instance] cannot be scraped",
            "Prometheus gets no answer from the admin port: the process, its node or the network between is gone.",
            "a:1 cannot be scraped",
            (('up{JOB,instance="a:1"}', "0x60"),),
            (("instance", "a:1"),),
        ),
        Alert(
            "NoReplicaReady",
            "page",
            "sum by (job) (secure_rpc_workers_ready{JOB})",
            "== 0",
            "1m",
            "no worker of [labels.job] takes calls",
            "Every process is starting, crashing or stuck; callers get nothing.",
            "no worker of JOB_NAME takes calls",
            (('secure_rpc_workers_ready{JOB,instance="a:1"}', "0x60"),),
        ),
        Alert(
            "WorkersRestart",
            "ticket",
            "sum by (job, cause) (increase(secure_rpc_worker_restarts_total{JOB}[15m]))",
            "> 0",
            "0m",
            "workers of [labels.job] were restarted: [labels.cause]",
            "A process has died and was replaced; a hostile call, memory, or a defect.",
            "workers of JOB_NAME were restarted: SIGKILL",
            (('secure_rpc_worker_restarts_total{JOB,cause="SIGKILL"}', "0x9 1x60"),),
            (("cause", "SIGKILL"),),
            fires_after="5m",
        ),
        Alert(
            "WorkersCrashLoop",
            "page",
            "sum by (job) (increase(secure_rpc_worker_restarts_total{JOB}[10m]))",
            "> 5",
            "1m",
            "workers of [labels.job] keep dying",
            "Processes die as fast as they are replaced; the same call or the same fault ends each of them.",
            "workers of JOB_NAME keep dying",
            (('secure_rpc_worker_restarts_total{JOB,cause="exit_70"}', "0+1x60"),),
            fires_after="3m",
        ),
        Alert(
            "TlsHandshakesFailEnMasse",
            "page",
            "100 * sum by (job) (rate(grpc_server_tls_handshake_failures_total{JOB}[5m]))\n"
            "/ (sum by (job) (rate(grpc_server_tls_handshakes_started_total{JOB}[5m])) > 0.2)",
            f"> {limits.handshake_failures_page_percent:g}",
            "3m",
            "[value | humanize] % of the TLS handshakes of [labels.job] fail",
            "Clients cannot connect: a CA was taken out too early, certificates have expired on one side, or a scan.",
            "50 % of the TLS handshakes of JOB_NAME fail",
            (
                ('grpc_server_tls_handshake_failures_total{JOB,reason="expired"}', "0+60x60"),
                ("grpc_server_tls_handshakes_started_total{JOB}", "0+120x60"),
            ),
            fires_after="30s",
        ),
        Alert(
            "CertificateExpiresWithinADay",
            "page",
            "min by (job, certificate) (secure_rpc_certificate_not_after_timestamp_seconds{JOB}) - time()",
            f"< {limits.certificate_page_hours * hour:g}",
            "5m",
            'the certificate "[labels.certificate]" ends in [value | humanizeDuration]',
            "Its renewal has failed for days; when it ends, no client can connect any more.",
            'the certificate "server" ends in 55m 0s',
            (('secure_rpc_certificate_not_after_timestamp_seconds{JOB,certificate="server"}', "3600x60"),),
            (("certificate", "server"),),
        ),
        Alert(
            "CertificateExpiresSoon",
            "ticket",
            "min by (job, certificate) (secure_rpc_certificate_not_after_timestamp_seconds{JOB}) - time()",
            f"< {limits.certificate_ticket_hours * hour:g}",
            "15m",
            'the certificate "[labels.certificate]" ends in [value | humanizeDuration]',
            "It should have been renewed by now.",
            'the certificate "server" ends in 2d 1h 45m 0s',
            (('secure_rpc_certificate_not_after_timestamp_seconds{JOB,certificate="server"}', "180000x60"),),
            (("certificate", "server"),),
        ),
        Alert(
            "CertificateReloadRefused",
            "ticket",
            'sum by (job) (increase(secure_rpc_certificate_reloads_total{JOB,result="refused"}[15m]))',
            "> 0",
            "0m",
            "new certificate files of [labels.job] were not taken up",
            "The files on disk are no good; the service goes on with the old ones until these end.",
            "new certificate files of JOB_NAME were not taken up",
            (('secure_rpc_certificate_reloads_total{JOB,result="refused"}', "0x9 1x60"),),
            fires_after="5m",
        ),
        Alert(
            "KeyCompromiseSuspected",
            "page",
            "sum by (job) (\n"
            'increase(secure_rpc_token_validation_failures_total{JOB,reason=~"FORGED"}[10m])\n'
            'or increase(secure_rpc_refusals_total{JOB,reason=~"TAMPERED"}[10m])\n)',
            "> 20",
            "1m",
            "many credentials of [labels.job] are forged, stolen or replayed",
            "Tokens with wrong signatures, tokens of others, or captured calls: somebody tries keys, or has one.",
            "many credentials of JOB_NAME are forged, stolen or replayed",
            (('secure_rpc_token_validation_failures_total{JOB,reason="TOKEN_SIGNATURE_WRONG"}', "0+10x60"),),
            fires_after="1m30s",
        ),
        Alert(
            "ReplaysDetected",
            "ticket",
            "sum by (job) (increase(secure_rpc_replays_detected_total{JOB}[15m]))",
            "> 0",
            "0m",
            "calls of [labels.job] were made a second time",
            "A captured call was sent again, or a client resends what it must sign anew.",
            "calls of JOB_NAME were made a second time",
            (("secure_rpc_replays_detected_total{JOB}", "0x9 1x60"),),
            fires_after="5m",
        ),
        Alert(
            "StreamsEndedByAuth",
            "ticket",
            "sum by (job) (increase(secure_rpc_streams_ended_by_auth_total{JOB}[15m]))",
            "> 0",
            "15m",
            "streams of [labels.job] are cut since their callers are not believed or allowed any more",
            "Clients do not refresh their sessions in time, or somebody was revoked.",
            "streams of JOB_NAME are cut since their callers are not believed or allowed any more",
            (("secure_rpc_streams_ended_by_auth_total{JOB}", "0+1x60"),),
            fires_after="30s",
        ),
        Alert(
            "AuditCannotBeWritten",
            "page",
            "sum by (job) (increase(secure_rpc_audit_write_failures_total{JOB}[5m]))",
            "> 0",
            "1m",
            "[labels.job] cannot write its audit log",
            "The disk is full, or the volume is gone; calls are refused, or go unrecorded, as the settings say.",
            "JOB_NAME cannot write its audit log",
            (("secure_rpc_audit_write_failures_total{JOB}", "0+1x60"),),
            fires_after="30s",
        ),
        Alert(
            "IssuerKeysAge",
            "ticket",
            "max by (job, issuer) (secure_rpc_issuer_keys_age_seconds{JOB})",
            f"> {limits.issuer_keys_ticket_seconds:g}",
            "5m",
            "the keys of [labels.issuer] are [value | humanizeDuration] old",
            "The issuer's JWKS cannot be fetched; tokens are still verified by the keys of before.",
            "the keys of https://i are 20m 0s old",
            (('secure_rpc_issuer_keys_age_seconds{JOB,issuer="https://i"}', "1200x60"),),
            (("issuer", "https://i"),),
        ),
        Alert(
            "IssuerKeysNearTheirLimit",
            "page",
            "max by (job, issuer) (secure_rpc_issuer_keys_age_seconds{JOB})",
            f"> {limits.issuer_keys_page_seconds:g}",
            "1m",
            "the keys of [labels.issuer] are [value | humanizeDuration] old",
            "When they reach keys.stale_limit_seconds, all tokens of the issuer are refused.",
            "the keys of https://i are 50m 0s old",
            (('secure_rpc_issuer_keys_age_seconds{JOB,issuer="https://i"}', "3000x60"),),
            (("issuer", "https://i"),),
        ),
        Alert(
            "PolicyReloadRefused",
            "ticket",
            'sum by (job) (increase(secure_rpc_policy_reloads_total{JOB,result="refused"}[15m]))',
            "> 0",
            "0m",
            "a changed policy of [labels.job] was not taken up",
            "The file is wrong; the policy of before decides.",
            "a changed policy of JOB_NAME was not taken up",
            (('secure_rpc_policy_reloads_total{JOB,result="refused"}', "0x9 1x60"),),
            fires_after="5m",
        ),
        Alert(
            "PolicyRolledBack",
            "ticket",
            "sum by (job) (increase(secure_rpc_policy_rollbacks_total{JOB}[15m]))",
            "> 0",
            "0m",
            "the candidate policy of [labels.job] took itself back",
            "It refused more callers than the active one.",
            "the candidate policy of JOB_NAME took itself back",
            (("secure_rpc_policy_rollbacks_total{JOB}", "0x9 1x60"),),
            fires_after="5m",
        ),
        Alert(
            "RevocationsStale",
            "page",
            "max by (job, list) (secure_rpc_revocations_age_seconds{JOB})",
            "> 120",
            "30s",
            'what "[labels.list]" revokes has not been confirmed for [value | humanizeDuration]',
            "The shared store does not answer; after revocation.max_staleness_seconds all calls are refused.",
            'what "shared" revokes has not been confirmed for 3m 20s',
            (('secure_rpc_revocations_age_seconds{JOB,list="shared"}', "200x60"),),
            (("list", "shared"),),
        ),
        Alert(
            "StoreUnreachable",
            "page",
            "min by (job, store) (secure_rpc_store_reachable{JOB})",
            "== 0",
            "1m",
            "[labels.job] does not reach the store that its replicas share",
            "Quotas, nonces and sessions are refused or counted locally, as the setting of each says.",
            "JOB_NAME does not reach the store that its replicas share",
            (('secure_rpc_store_reachable{JOB,store="redis"}', "0x60"),),
            (("store", "redis"),),
        ),
        Alert(
            "EventLoopLags",
            "ticket",
            "histogram_quantile(0.99, sum by (job, le) (rate(secure_rpc_event_loop_lag_seconds_bucket{JOB}[5m])))",
            f"> {limits.loop_lag_ticket_seconds:g}",
            "10m",
            "the event loop of [labels.job] is [value | humanizeDuration] late",
            "Something blocks it, or the processes have more to do than they can.",
            "the event loop of JOB_NAME is 496ms late",
            (
                ('secure_rpc_event_loop_lag_seconds_bucket{JOB,le="0.1"}', "0x60"),
                ('secure_rpc_event_loop_lag_seconds_bucket{JOB,le="0.5"}', "0+100x60"),
                ('secure_rpc_event_loop_lag_seconds_bucket{JOB,le="+Inf"}', "0+100x60"),
            ),
            fires_after="30s",
        ),
        Alert(
            "LoadShed",
            "page",
            "100 * sum by (job) (rate(secure_rpc_load_refusals_total{JOB}[5m]))\n"
            "/ (sum by (job) (rate(secure_rpc_calls_ended_total{JOB}[5m])) > 0.2)",
            f"> {limits.load_refusals_page_percent:g}",
            "3m",
            "[labels.job] refuses [value | humanize] % of its calls for load",
            "One address floods it, or there are more callers than it has room for.",
            "JOB_NAME refuses 50 % of its calls for load",
            (
                ('secure_rpc_load_refusals_total{JOB,reason="LOAD_SHED"}', "0+60x60"),
                ("secure_rpc_calls_ended_total{JOB}", "0+120x60"),
            ),
            fires_after="30s",
        ),
    )
