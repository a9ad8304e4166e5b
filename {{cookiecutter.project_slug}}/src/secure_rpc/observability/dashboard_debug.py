"""The dashboard for those who look for the cause: caches, loops, issuers, each method by itself."""

from __future__ import annotations

from secure_rpc.observability.panels import Dashboard, Panel, Query
from secure_rpc.observability.queries import DEBUG, OF, rate


def debug() -> Dashboard:
    """Return it."""
    return Dashboard(
        DEBUG,
        "Secure RPC: debug",
        "Caches, loops, issuers, and each method by itself.",
        (
            (
                "Methods",
                (
                    Panel(
                        "Calls by method and status",
                        "Calls a second.",
                        "reqps",
                        (
                            Query(
                                "sum by (grpc_method, grpc_status) ("
                                + rate("grpc_server_call_duration_seconds_count")
                                + ")",
                                "[grpc_method] [grpc_status]",
                            ),
                        ),
                    ),
                    Panel(
                        "How long calls take",
                        "All calls, by the time that they took.",
                        "s",
                        (Query("sum by (le) (" + rate("grpc_server_call_duration_seconds_bucket") + ")", "[le]"),),
                        kind="heatmap",
                    ),
                    Panel(
                        "Calls under way",
                        "Calls that have begun and not ended, streams among them.",
                        "short",
                        (Query(f"sum by (instance) (secure_rpc_calls_in_flight{OF})", "[instance]"),),
                    ),
                    Panel(
                        "Refusals by method, status and reason",
                        "Within the last hour, most frequent first.",
                        "short",
                        (
                            Query(
                                "topk(20, sum by (grpc_method, grpc_status, reason)"
                                f" (increase(secure_rpc_refusals_total{OF}[1h])))"
                            ),
                        ),
                        kind="table",
                    ),
                ),
            ),
            (
                "Identity",
                (
                    Panel(
                        "Identities known already",
                        "Share of the look-ups of verified identities that found one.",
                        "percentunit",
                        (
                            Query(
                                'sum(rate(secure_rpc_identity_cache_uses{job="$job",result="hit"}[$__rate_interval]))'
                                ' / (sum(rate(secure_rpc_identity_cache_uses{job="$job",result=~"hit|miss"}'
                                "[$__rate_interval])) > 0)",
                                "known",
                            ),
                        ),
                    ),
                    Panel(
                        "Age of issuers' keys",
                        "Time since the keys of each issuer were fetched.",
                        "s",
                        (Query(f"max by (issuer) (secure_rpc_issuer_keys_age_seconds{OF})", "[issuer]"),),
                    ),
                    Panel(
                        "Key exchange of connections",
                        "Callers that were verified anew, by the group in which their keys were agreed.",
                        "reqps",
                        (Query(f"sum by (group) ({rate('secure_rpc_tls_key_exchange_groups_total')})", "[group]"),),
                    ),
                    Panel(
                        "Age of the policy",
                        "Time since the policy was last taken up.",
                        "s",
                        (Query(f"time() - min(secure_rpc_policy_loaded_timestamp_seconds{OF})", "policy"),),
                    ),
                ),
            ),
            (
                "Process",
                (
                    Panel(
                        "Event loop lag, 99th percentile",
                        "How much later than asked the loop wakes.",
                        "s",
                        (
                            Query(
                                "histogram_quantile(0.99, sum by (le, instance) ("
                                + rate("secure_rpc_event_loop_lag_seconds_bucket")
                                + "))",
                                "[instance]",
                            ),
                        ),
                    ),
                    Panel(
                        "CPU",
                        "Cores in use, by instance.",
                        "short",
                        (Query(f"sum by (instance) ({rate('process_cpu_seconds_total')})", "[instance]"),),
                    ),
                    Panel(
                        "Memory",
                        "Memory that is held, by instance, all of its processes together.",
                        "bytes",
                        (Query(f"sum by (instance) (process_resident_memory_bytes{OF})", "[instance]"),),
                    ),
                    Panel(
                        "Made of",
                        "Versions and deployments that are alive.",
                        "short",
                        (
                            Query(
                                "count by (version, deployment_id, python, grpcio, openssl)"
                                f" (secure_rpc_build_info{OF})"
                            ),
                        ),
                        kind="table",
                    ),
                ),
            ),
        ),
        refresh="10s",
        span="now-1h",
    )
