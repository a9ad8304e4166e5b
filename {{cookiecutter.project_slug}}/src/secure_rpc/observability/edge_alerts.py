"""The alerts on the edge, by Envoy's own numbers: `JOB` selects the edge's series, not the service's."""

from __future__ import annotations

from secure_rpc.observability.alerts import Alert
from secure_rpc.observability.objectives import Promises

# how often the edge read no more of a stream, and how often it went on
_SELECTED = '{JOB,envoy_cluster_name="service"}'
_PAUSED = f"envoy_cluster_upstream_flow_control_paused_reading_total{_SELECTED}"
_RESUMED = f"envoy_cluster_upstream_flow_control_resumed_reading_total{_SELECTED}"


def edge_alerts(promises: Promises) -> tuple[Alert, ...]:
    """Return all of them.

    Args:
        promises: of the service.
    """
    limits = promises.thresholds
    return (
        Alert(
            "EdgeRefusesOrigins",
            "page",
            "100 * sum by (job) (rate(envoy_http_cors_origin_invalid{JOB}[5m]))\n"
            "/ (sum by (job) (rate(envoy_http_cors_origin_invalid{JOB}[5m]) "
            "+ rate(envoy_http_cors_origin_valid{JOB}[5m])) > 0.1)",
            f"> {limits.edge_origins_page_percent:g}",
            "5m",
            "[value | humanize] % of the requests of pages to [labels.job] come from origins that are not on its list",
            "The list of origins lacks a page of ours, which can call nothing any more; or foreign pages try.",
            "75 % of the requests of pages to JOB_NAME come from origins that are not on its list",
            (
                ('envoy_http_cors_origin_invalid{JOB,envoy_http_conn_manager_prefix="edge"}', "0+90x60"),
                ('envoy_http_cors_origin_valid{JOB,envoy_http_conn_manager_prefix="edge"}', "0+30x60"),
            ),
            fires_after="30s",
        ),
        Alert(
            "EdgeCallersDoNotRead",
            "ticket",
            f"sum by (job) (\nincrease({_PAUSED}[15m])\n- increase({_RESUMED}[15m])\n)",
            f"> {limits.edge_unread_ticket_streams:g}",
            "5m",
            "[value | humanize] streams of [labels.job] wait for callers that do not read",
            "What they asked for stands in the edge's memory; slow lines, clients that hang, or somebody who fills it.",
            "20 streams of JOB_NAME wait for callers that do not read",
            (
                (_PAUSED, "0x9 20x60"),
                (_RESUMED, "0x60"),
            ),
            fires_after="5m",
        ),
    )
