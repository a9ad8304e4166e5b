"""The dashboard for those who ask how it is going: promises, budgets, dates."""

from __future__ import annotations

from secure_rpc.observability.indicators import INDICATORS, Indicator, budget, ratio
from secure_rpc.observability.objectives import Promises
from secure_rpc.observability.panels import GREEN, RED, YELLOW, Dashboard, Panel, Query
from secure_rpc.observability.queries import DAY_SECONDS, EXECUTIVE, OF, ON_CALL, rate


def executive(promises: Promises) -> Dashboard:
    """Return it.

    Args:
        promises: of the service.
    """
    days = promises.window_days
    budgets = tuple(_budget(each, promises) for each in INDICATORS)
    return Dashboard(
        EXECUTIVE,
        "Secure RPC: promises",
        f"What the service promises, and how much of each error budget of {days} days is left.",
        (
            (f"Error budgets left, of {days} days", budgets),
            (
                "Now",
                (
                    Panel(
                        "Calls",
                        "Calls a second, by how they ended.",
                        "reqps",
                        (
                            Query(
                                f"sum by (grpc_status) ({rate('grpc_server_call_duration_seconds_count')})",
                                "[grpc_status]",
                            ),
                        ),
                        drill_down=ON_CALL,
                    ),
                    Panel(
                        "Certificate lead time",
                        "Time until the certificate that ends first does; less than three days makes a ticket.",
                        "s",
                        (
                            Query(
                                f"min(secure_rpc_certificate_not_after_timestamp_seconds{OF}) - time()", "first to end"
                            ),
                        ),
                        kind="stat",
                        width=6,
                        steps=((RED, None), (YELLOW, DAY_SECONDS), (GREEN, 3 * DAY_SECONDS)),
                        drill_down=ON_CALL,
                    ),
                    Panel(
                        "Records of calls",
                        "Share of the calls that ended within the hour which have their audit record.",
                        "percentunit",
                        (
                            Query(
                                f"sum(increase(secure_rpc_audit_records_total{OF}[1h]))"
                                f" / (sum(increase(secure_rpc_calls_ended_total{OF}[1h])) > 0)",
                                "recorded",
                            ),
                        ),
                        kind="stat",
                        width=6,
                        steps=((RED, None), (GREEN, 0.999)),
                        drill_down=ON_CALL,
                    ),
                ),
            ),
        ),
        span=f"now-{days}d",
        refresh="5m",
    )


def _budget(indicator: Indicator, promises: Promises) -> Panel:
    allowed = budget(indicator, promises)
    days = f"{promises.window_days}d"
    bad = ratio(indicator, days, promises).replace(f'job="{promises.job}"', 'job="$job"')
    worst = "max" if indicator.by else "sum"
    objective = f"{getattr(promises.objectives, indicator.name):g} %"
    return Panel(
        indicator.name.replace("_", " ").capitalize().replace("Tls", "TLS"),
        f"Of {objective} that are promised: {indicator.title}. 100 % is the whole error budget, below 0 it is "
        "overdrawn.",
        "percentunit",
        (Query(f"1 - {worst}({bad}) / {allowed:.9g}", "left"),),
        kind="stat",
        width=3,
        height=5,
        steps=((RED, None), (YELLOW, 0.0), (GREEN, 0.25)),
        drill_down=ON_CALL,
    )
