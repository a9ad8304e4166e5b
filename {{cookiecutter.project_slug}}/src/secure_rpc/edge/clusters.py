"""Whom the edge talks to: the service, by mutual TLS and under one name alone; issuers, for their keys; itself."""

from __future__ import annotations

import ipaddress

from secure_rpc.edge.names import ADMIN, COLLECTOR, EXCHANGE, HEALTH_PATH, SERVICE, Json, seconds, socket, typed
from secure_rpc.edge.secrets import AUTHORITY, WORKLOAD, reference
from secure_rpc.edge.subject import Subject
from secure_rpc.edge.values import Edge, Exchange, host_and_port
from secure_rpc.policy.export import envoy

CONNECT_SECONDS = 2.0
HEALTH_SECONDS = 2.0
HEALTH_INTERVAL_SECONDS = 5.0
PING_SECONDS = 30.0
PONG_SECONDS = 10.0
ONLY_1_3 = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
MAX_REQUESTS = 10_000
MAX_WINDOW_BYTES = 2**31 - 1  # RFC 9113, section 6.9.1


def clusters(subject: Subject) -> list[Json]:
    """Return all of them."""
    issuers = {found["name"]: found for each in subject.issuers for found in [envoy.cluster(each)]}
    collector = [_collector(subject.edge.traces_to)] if subject.edge.traces_to else []
    exchange = [_exchange(subject.edge.exchange)] if subject.edge.exchange else []
    return [_service(subject.edge), *issuers.values(), *exchange, *collector, _admin(subject.edge)]


def _http_2(**options: int) -> Json:
    """Return how HTTP/2 is spoken; a dead connection is noticed, though all its streams are silent."""
    keepalive = {"interval": seconds(PING_SECONDS), "timeout": seconds(PONG_SECONDS)}
    http_2 = {"connection_keepalive": keepalive, **options}
    kind = "upstreams.http.v3.HttpProtocolOptions"
    return {f"envoy.extensions.{kind}": typed(kind, explicit_http_config={"http2_protocol_options": http_2})}


def _service(edge: Edge) -> Json:
    host, _ = host_and_port(edge.service)
    return {
        "name": SERVICE,
        # of a headless service DNS gives the address of each pod: calls are balanced one by one
        "type": "STATIC" if _is_address(host) else "STRICT_DNS",
        "connect_timeout": seconds(CONNECT_SECONDS),
        "per_connection_buffer_limit_bytes": edge.limits.buffer_bytes,
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": _endpoint(SERVICE, socket(edge.service)),
        "typed_extension_protocol_options": _http_2(
            # A caller that does not read holds up its own stream, and takes little of the edge's memory. All streams
            # share the window of the connection: with room for each that there may be, none waits for another's caller.
            initial_stream_window_size=edge.limits.stream_bytes,
            initial_connection_window_size=min(MAX_REQUESTS * edge.limits.stream_bytes, MAX_WINDOW_BYTES),
        ),
        "health_checks": [
            {
                "timeout": seconds(HEALTH_SECONDS),
                "interval": seconds(HEALTH_INTERVAL_SECONDS),
                "no_traffic_interval": seconds(HEALTH_INTERVAL_SECONDS),
                # at first, and where it is not well, more often
                "initial_jitter": "0.1s",
                "unhealthy_interval": "1s",
                "no_traffic_healthy_interval": seconds(HEALTH_INTERVAL_SECONDS),
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        # Only what no caller can bring about counts: connections that fail. A status does not, for callers choose it: a
        # deadline of a nanosecond ends as DEADLINE_EXCEEDED, which would be a gateway's error.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 5,
            "base_ejection_time": "10s",
            "max_ejection_percent": 50,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1024,
                    "max_pending_requests": 1024,
                    "max_requests": MAX_REQUESTS,
                    "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 3},
                }
            ]
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed(
                "transport_sockets.tls.v3.UpstreamTlsContext",
                **({} if _is_address(host) else {"sni": host}),
                common_tls_context={
                    "alpn_protocols": ["h2"],
                    "tls_params": ONLY_1_3,
                    "tls_certificate_sds_secret_configs": [reference(edge, WORKLOAD)],
                    "combined_validation_context": {
                        "default_validation_context": {
                            "match_typed_subject_alt_names": [
                                {"san_type": "URI", "matcher": {"exact": edge.service_id}}
                            ]
                        },
                        "validation_context_sds_secret_config": reference(edge, AUTHORITY),
                    },
                },
            ),
        },
    }


def _exchange(exchange: Exchange) -> Json:
    return {
        "name": EXCHANGE,
        "type": "STATIC",
        "connect_timeout": seconds(CONNECT_SECONDS),
        "load_assignment": _endpoint(EXCHANGE, socket(exchange.listen)),
        # for /readyz: an edge that cannot exchange tokens can let nobody in
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": HEALTH_PATH},
            }
        ],
    }


def _collector(address: str) -> Json:
    return {
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": seconds(CONNECT_SECONDS),
        "typed_extension_protocol_options": _http_2(),
        "load_assignment": _endpoint(COLLECTOR, socket(address)),
    }


def _admin(edge: Edge) -> Json:
    return {
        "name": ADMIN,
        "type": "STATIC",
        "connect_timeout": seconds(CONNECT_SECONDS),
        "load_assignment": _endpoint(ADMIN, {"pipe": {"path": str(edge.admin_socket)}}),
    }


def _endpoint(cluster: str, address: Json) -> Json:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
