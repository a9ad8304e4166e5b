"""Where the edge listens: for callers, by TLS 1.3; and for probes and Prometheus, in plain HTTP, for nothing else."""

from __future__ import annotations

from secure_rpc.edge.clusters import ONLY_1_3, PING_SECONDS, PONG_SECONDS
from secure_rpc.edge.filters import http_filters
from secure_rpc.edge.names import (
    ADMIN,
    COLLECTOR,
    EXCHANGE,
    METRICS_PATH,
    SERVICE,
    TYPE,
    Json,
    extension,
    seconds,
    socket,
    typed,
)
from secure_rpc.edge.routes import route_configuration
from secure_rpc.edge.secrets import PUBLIC, reference
from secure_rpc.edge.subject import Subject
from secure_rpc.edge.values import Edge

MANAGER = "envoy.filters.network.http_connection_manager"
MANAGER_KIND = "filters.network.http_connection_manager.v3.HttpConnectionManager"
EXCHANGE_METRICS_PATH = "/metrics/exchange"
HEADERS_SECONDS = 10.0
SILENT_SECONDS = 300.0  # of a request that is no stream
MAX_HEADERS = 64

# What nobody from outside may say. Whatever begins with x- goes, before Envoy adds any of its own: forwarded addresses
# and certificates, names of users, Envoy's own switches, API keys. The trace begins here: its id is in the log of the
# edge, and in the service's audit.
NOT_BELIEVED = ("x-",)
NOT_BELIEVED_NAMES = ("forwarded", "traceparent", "tracestate", "baggage", "grpc-trace-bin", "grpc-tags-bin")

# No address is one of ours, none may use Envoy's own headers. It cannot be said by naming none: then Envoy takes all
# private addresses for its own. From this one nobody can call.
NOBODY = {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]}

# what an HTTP status of the edge's own is in gRPC (google.rpc.Code)
REFUSALS = {401: 16, 403: 16, 429: 8}
# a refusal of the exchange is told as it is: there, 403 is no token of another audience (as Envoy's JWT filter has it)
EXCHANGE_REFUSALS = {401: 16, 403: 7, 503: 14}
BY_EXCHANGE = {"response_flag_filter": {"flags": ["UAEX"]}}

ACCESS_LOG = {
    "time": "%START_TIME%",
    "trace_id": "%TRACE_ID%",
    "correlation_id": "%TRAILER(correlation-id?)%",
    "request_id": "%REQ(x-request-id)%",
    "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "verb": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:PATH)%",  # no query: it may hold what is nobody's business
    "original_path": "%PATH(NQ:ORIG)%",
    "protocol": "%PROTOCOL%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
    "origin": "%REQ(ORIGIN)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "upstream": "%UPSTREAM_HOST%",
}


def listeners(subject: Subject) -> list[Json]:
    """Return both."""
    return [_public(subject), _probes(subject.edge)]


def _public(subject: Subject) -> Json:
    edge = subject.edge
    tls = typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": ONLY_1_3,
            "tls_certificate_sds_secret_configs": [reference(edge, PUBLIC)],
        },
    )
    return {
        "name": "edge",
        "address": socket(edge.listen),
        "per_connection_buffer_limit_bytes": edge.limits.buffer_bytes,
        "filter_chains": [
            {
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "transport_socket_connect_timeout": seconds(HEADERS_SECONDS),
                "filters": [{"name": MANAGER, "typed_config": _manager(subject)}],
            }
        ],
    }


def _manager(subject: Subject) -> Json:
    edge = subject.edge
    return typed(
        MANAGER_KIND,
        stat_prefix="edge",
        codec_type="AUTO",
        # who is calling, where from
        use_remote_address=True,
        xff_num_trusted_hops=edge.trusted_hops,
        internal_address_config=NOBODY,
        early_header_mutation_extensions=[_without_what_is_not_believed(edge)],
        server_header_transformation="PASS_THROUGH",
        # what a request may look like
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        max_request_headers_kb=max(1, subject.max_metadata_bytes // 1024),
        common_http_protocol_options={
            "idle_timeout": seconds(edge.limits.idle_connection_seconds),
            "max_headers_count": MAX_HEADERS,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        http2_protocol_options={
            "max_concurrent_streams": edge.limits.streams_per_connection,
            "initial_stream_window_size": edge.limits.stream_bytes,
            "initial_connection_window_size": 1_048_576,
            "connection_keepalive": {"interval": seconds(PING_SECONDS), "timeout": seconds(PONG_SECONDS)},
        },
        # how long it may take; routes of streams lift what would cut them
        request_headers_timeout=seconds(HEADERS_SECONDS),
        stream_idle_timeout=seconds(SILENT_SECONDS),
        request_timeout="0s",
        # what it becomes
        tracing=_tracing(edge),
        access_log=[
            extension(
                "envoy.access_loggers.stdout",
                "access_loggers.stream.v3.StdoutAccessLog",
                log_format={"json_format": ACCESS_LOG},
            )
        ],
        local_reply_config={"mappers": _refusals(edge)},
        route_config=route_configuration(subject),
        http_filters=http_filters(subject),
    )


def _refusals(edge: Edge) -> list[Json]:
    """Return how all refusals are told; the first that fits counts."""
    exchange = [_refusal(status, code, BY_EXCHANGE) for status, code in EXCHANGE_REFUSALS.items()]
    return [*(exchange if edge.exchange else []), *(_refusal(status, code) for status, code in REFUSALS.items())]


def _refusal(status: int, code: int, *conditions: Json) -> Json:
    """Return how a refusal of the edge's own is told to a page that calls by gRPC-Web.

    Envoy takes such a call for plain HTTP, and its client would make another code of the status than a service has. By
    now it looks like any call of gRPC; so does one by REST, but for the path that it had.
    """
    statuses = {"comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": "edge.none"}}}
    headers = (
        {"name": "content-type", "string_match": {"prefix": "application/grpc"}},
        {"name": "x-envoy-original-path", "present_match": False},
    )
    filters = [
        {"status_code_filter": statuses},
        *conditions,
        *({"header_filter": {"header": header}} for header in headers),
    ]
    return {
        "filter": {"and_filter": {"filters": filters}},
        "status_code": 200,
        "headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in (("grpc-status", str(code)), ("grpc-message", "%LOCAL_REPLY_BODY%"))
        ],
        "body_format_override": {
            "text_format_source": {"inline_string": ""},
            "content_type": "application/grpc-web+proto",
        },
    }


def _tracing(edge: Edge) -> Json:
    """Return what gives each call a trace, whose id stands in the edge's log and in the service's audit.

    Without a collector no span is kept, so none is sent: the cluster named then is there because Envoy wants one.
    """
    share = {"value": 100 if edge.traces_to else 0}
    return {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{TYPE}envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": "edge",
                "grpc_service": {
                    "envoy_grpc": {"cluster_name": COLLECTOR if edge.traces_to else ADMIN},
                    "timeout": "1s",
                },
            },
        },
        "client_sampling": {"value": 0},
        "random_sampling": share,
        "overall_sampling": share,
    }


def _without_what_is_not_believed(edge: Edge) -> Json:
    kept = ("x-forwarded-for",) if edge.trusted_hops else ()  # of a load balancer of ours
    prefixes: list[Json] = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in NOT_BELIEVED]
    if kept:  # RE2 has no "but": all that begins otherwise
        expression = "x-(?:[^f].*|f[^o].*|fo[^r].*|forwarded-[^f].*)"
        prefixes = [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": expression}}}}]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*prefixes, *({"remove": name} for name in NOT_BELIEVED_NAMES)],
    )


def _probes(edge: Edge) -> Json:
    """Return the listener of the kubelet and of Prometheus: three paths, and no way from there to the service."""

    def check(path: str, **settings: Json) -> Json:
        exact = {"name": ":path", "string_match": {"exact": path}}
        return extension(
            "envoy.filters.http.health_check",
            "filters.http.health_check.v3.HealthCheck",
            pass_through_mode=False,
            headers=[exact],
            **settings,
        )

    metrics: Json = {
        "match": {"path": "/metrics", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
        "route": {"cluster": ADMIN, "prefix_rewrite": "/stats/prometheus"},
    }
    routes = [metrics]
    if edge.exchange:
        of_exchange = {**metrics["match"], "path": EXCHANGE_METRICS_PATH}
        routes.append({"match": of_exchange, "route": {"cluster": EXCHANGE, "prefix_rewrite": METRICS_PATH}})
    needed = [SERVICE, *([EXCHANGE] if edge.exchange else [])]
    manager = typed(
        MANAGER_KIND,
        stat_prefix="probes",
        route_config={"virtual_hosts": [{"name": "probes", "domains": ["*"], "routes": routes}]},
        http_filters=[
            check("/healthz"),
            # ready while there is a service to call, and a process to exchange tokens
            check("/readyz", cluster_min_healthy_percentages={name: {"value": 1} for name in needed}),
            extension("envoy.filters.http.router", "filters.http.router.v3.Router"),
        ],
    )
    return {
        "name": "probes",
        "address": socket(edge.probes),
        "ignore_global_conn_limit": True,  # a full edge is not a dead one
        "filter_chains": [{"filters": [{"name": MANAGER, "typed_config": manager}]}],
    }
