"""The dashboard for the night: what is wrong, since when, where to go on."""

from __future__ import annotations

from secure_rpc.observability.indicators import INDICATORS, budget, recorded
from secure_rpc.observability.objectives import Promises
from secure_rpc.observability.panels import GREEN, RED, YELLOW, Dashboard, Panel, Query
from secure_rpc.observability.queries import (
    BAD_ABOVE_ZERO,
    DAY_SECONDS,
    DEBUG,
    EXECUTIVE,
    GOOD_FROM_ONE,
    OF,
    ON_CALL,
    rate,
)

LATENCY = f"sum by (le, grpc_method) ({rate('grpc_server_call_duration_seconds_bucket')})"


def on_call(promises: Promises) -> Dashboard:
    """Return it.

    Args:
        promises: of the service.
    """
    burning = tuple(
        Query(
            f"{recorded(each, '5m')}{OF} / {budget(each, promises):.9g}",
            " ".join((each.name, *(f"[{label}]" for label in each.by))),
        )
        for each in INDICATORS
    )
    return Dashboard(
        ON_CALL,
        "Secure RPC: on call",
        "What is wrong, since when, and where to look on.",
        (
            (
                "What burns",
                (
                    Panel(
                        "Burn rate",
                        "How many times as fast as allowed each error budget is used up; above 14.4 somebody is woken.",
                        "short",
                        burning,
                        width=16,
                        steps=((GREEN, None), (YELLOW, 1), (RED, 14.4)),
                        drill_down=EXECUTIVE,
                    ),
                    Panel(
                        "Workers that take calls",
                        "Processes that take calls; none means that nobody is served.",
                        "short",
                        (Query(f"sum(secure_rpc_workers_ready{OF})", "ready"),),
                        kind="stat",
                        width=4,
                        steps=GOOD_FROM_ONE,
                    ),
                    Panel(
                        "Restarts within the hour",
                        "Workers that died and were replaced.",
                        "short",
                        (Query(f"sum(increase(secure_rpc_worker_restarts_total{OF}[1h]))", "restarts"),),
                        kind="stat",
                        width=4,
                        steps=BAD_ABOVE_ZERO,
                    ),
                ),
            ),
            (
                "Calls",
                (
                    Panel(
                        "Refusals by reason",
                        "Calls that did not end well, by the reason that was given.",
                        "reqps",
                        (Query(f"sum by (reason) ({rate('secure_rpc_refusals_total')})", "[reason]"),),
                        drill_down=DEBUG,
                    ),
                    Panel(
                        "Latency, 99th percentile",
                        "Time from the first byte of a call to its end, by method.",
                        "s",
                        (Query(f"histogram_quantile(0.99, {LATENCY})", "[grpc_method]"),),
                        drill_down=DEBUG,
                    ),
                ),
            ),
            (
                "Transport",
                (
                    Panel(
                        "Failed handshakes by reason",
                        "TLS handshakes that failed; what fails for a client's certificate counts here, too.",
                        "reqps",
                        (Query(f"sum by (reason) ({rate('grpc_server_tls_handshake_failures_total')})", "[reason]"),),
                    ),
                    Panel(
                        "Certificate expiry heat map",
                        "Time that each certificate in use has left: red within a day, yellow within three.",
                        "s",
                        (
                            Query(
                                "min by (certificate) (secure_rpc_certificate_not_after_timestamp_seconds"
                                f"{OF}) - time()",
                                "[certificate]",
                            ),
                        ),
                        kind="status-history",
                        steps=((RED, None), (YELLOW, DAY_SECONDS), (GREEN, 3 * DAY_SECONDS)),
                    ),
                ),
            ),
            (
                "Identity and access",
                (
                    Panel(
                        "Tokens not believed, by reason",
                        "Tokens and API keys that were looked into and refused.",
                        "reqps",
                        (
                            Query(
                                "sum by (issuer, reason) (" + rate("secure_rpc_token_validation_failures_total") + ")"
                                f" or sum(secure_rpc_token_validations_total{OF}) * 0",
                                "[issuer] [reason]",
                            ),
                        ),
                        drill_down=DEBUG,
                    ),
                    Panel(
                        "Time to know a caller, 95th percentile",
                        "From the headers of a call until its caller is known and allowed; 100 ms are promised.",
                        "s",
                        (
                            Query(
                                "histogram_quantile(0.95, sum by (le, identity) ("
                                + rate("secure_rpc_auth_duration_seconds_bucket")
                                + "))",
                                "[identity]",
                            ),
                        ),
                        drill_down=DEBUG,
                    ),
                    Panel(
                        "Streams ended by authorization",
                        "Streams that were cut within the hour since their caller is not let in any more.",
                        "short",
                        (Query(f"sum(increase(secure_rpc_streams_ended_by_auth_total{OF}[1h]))", "ended"),),
                        kind="stat",
                        width=6,
                        steps=BAD_ABOVE_ZERO,
                    ),
                    Panel(
                        "Replays within the hour",
                        "Calls that had been made before.",
                        "short",
                        (Query(f"sum(increase(secure_rpc_replays_detected_total{OF}[1h]))", "replays"),),
                        kind="stat",
                        width=6,
                        steps=BAD_ABOVE_ZERO,
                    ),
                    Panel(
                        "Audit records not written",
                        "Failed attempts to write records within the hour.",
                        "short",
                        (Query(f"sum(increase(secure_rpc_audit_write_failures_total{OF}[1h]))", "failed"),),
                        kind="stat",
                        width=6,
                        steps=BAD_ABOVE_ZERO,
                    ),
                    Panel(
                        "Policy changes not taken up",
                        "Reloads that were refused and candidates that took themselves back, within the hour.",
                        "short",
                        (
                            Query(
                                'sum(increase(secure_rpc_policy_reloads_total{job="$job",result="refused"}[1h]))'
                                f" + sum(increase(secure_rpc_policy_rollbacks_total{OF}[1h]))",
                                "refused",
                            ),
                        ),
                        kind="stat",
                        width=6,
                        steps=BAD_ABOVE_ZERO,
                    ),
                ),
            ),
        ),
        refresh="10s",
        span="now-3h",
    )
