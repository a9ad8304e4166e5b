"""Where requests go: each method has a route of its own, and what has none is not there.

A route of a method that streams has no timeout: a stream ends with its credential, which is the service's business.
"""

from __future__ import annotations

from pathlib import Path

from secure_rpc.edge.names import CORS, EXT_AUTHZ, SERVICE, Json, seconds, typed
from secure_rpc.edge.subject import Exposed, Subject
from secure_rpc.edge.values import Edge

GRACE_SECONDS = 5.0  # the service ends calls by itself; the edge does it only where the service has not
REQUEST_HEADERS = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "request-nonce",
    "request-time",
    "x-grpc-web",
    "x-user-agent",
)
RESPONSE_HEADERS = (
    "correlation-id",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "idempotent-replay",
    "retry-after",
    "session-expires-at",
    "session-id",
)
PREFLIGHT_SECONDS = 600
YEAR_SECONDS = 31_536_000
# of gRPC and gRPC-Web; what else is sent to a method's path is no call, though a server of gRPC may take it for one
GRPC = {
    "name": "content-type",
    "string_match": {"safe_regex": {"regex": r"application/grpc(-web(-text)?)?(\+proto)?"}},
}
KEPT = f"max-age={YEAR_SECONDS}, immutable"  # names of assets hold their digest
MAX_FILE_BYTES = 8_388_608  # of the page
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
}


def route_configuration(subject: Subject) -> Json:
    """Return all routes."""
    edge = subject.edge
    routes = [_route(subject, method) for method in subject.methods]
    routes += [_page(edge, path, file) for path, file in subject.page.items()]
    # What has no route ends here, and so do preflights. A REST call is here until it has been turned into a gRPC call,
    # which then has the route of its method. The header cannot come from outside, so there is nobody to send it to; it
    # is no direct response, for those have no rules on origins.
    nowhere = {"cluster_header": "x-nowhere", "cluster_not_found_response_code": "NOT_FOUND"}
    routes.append({"match": {"prefix": "/"}, "route": nowhere})
    return {
        "name": "edge",
        "virtual_hosts": [
            {
                "name": "edge",
                "domains": ["*"],
                "routes": routes,
                "typed_per_filter_config": {CORS: _cors(edge)},
            }
        ],
        "max_direct_response_body_size_bytes": MAX_FILE_BYTES,
        "response_headers_to_add": [
            # on a developer's machine it would hold for whatever else is on localhost
            *([] if edge.is_local else [_header("strict-transport-security", f"max-age={YEAR_SECONDS}")]),
            _header("x-content-type-options", "nosniff"),
        ],
        "response_headers_to_remove": ["x-envoy-upstream-service-time"],
    }


def _route(subject: Subject, method: Exposed) -> Json:
    limit = seconds(subject.max_deadline_seconds + GRACE_SECONDS) if subject.max_deadline_seconds else "0s"
    duration = (
        # 0: as long as the client's grpc-timeout says; without one, as long as it likes
        {"grpc_timeout_header_max": "0s", "max_stream_duration": "0s"}
        if method.is_streaming
        else {"grpc_timeout_header_max": limit, "max_stream_duration": limit}
    )
    action: Json = {"cluster": SERVICE, "timeout": "0s", "max_stream_duration": duration}
    if method.is_streaming:
        action["idle_timeout"] = "0s"  # a stream may be silent; dead connections are found by pings
    else:
        action["retry_policy"] = {
            # what no handler has seen: a call is never made twice
            "retry_on": "connect-failure,refused-stream",
            "num_retries": 2,
        }
    route: Json = {"match": {"path": method.path, "headers": [GRPC]}, "route": action}
    if subject.edge.exchange and method.is_public:  # it needs no token; one that is there gets no further than here
        route |= {"request_headers_to_remove": ["authorization"], **_unexchanged(subject.edge)}
    return route


def _unexchanged(edge: Edge) -> Json:
    """Return what a route says that needs no token."""
    if not edge.exchange:
        return {}
    return {"typed_per_filter_config": {EXT_AUTHZ: typed("filters.http.ext_authz.v3.ExtAuthzPerRoute", disabled=True)}}


def _page(edge: Edge, path: str, file: Path) -> Json:
    """Return the route of a file, which is read when Envoy starts; no path from outside ever names a file."""
    sources = " ".join(["'self'", *edge.connect_to])
    policy = f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src {sources}; "
    policy += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    policy += "require-trusted-types-for 'script'; trusted-types 'none'"
    return {
        "match": {"path": path},
        "direct_response": {"status": 200, "body": {"filename": str(file)}},
        **_unexchanged(edge),
        "response_headers_to_add": [
            _header("content-type", CONTENT_TYPES.get(file.suffix, "application/octet-stream")),
            _header("content-security-policy", policy),
            _header("referrer-policy", "no-referrer"),
            _header("cross-origin-opener-policy", "same-origin"),
            # names of assets hold their digest
            _header(
                "cache-control", f"max-age={YEAR_SECONDS}, immutable" if path.startswith("/assets/") else "no-cache"
            ),
        ],
    }


def _cors(edge: Edge) -> Json:
    return typed(
        "filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in edge.origins],
        allow_methods="GET, POST",
        allow_headers=", ".join(REQUEST_HEADERS),
        expose_headers=", ".join(RESPONSE_HEADERS),
        max_age=str(PREFLIGHT_SECONDS),
        allow_credentials=False,  # tokens are sent by the page; a cookie means nothing here
        forward_not_matching_preflights=False,
    )


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
