"""What each request goes through, in this order. What refuses stands behind what turns all callers into gRPC's.

So REST and gRPC-Web are under the same rules as gRPC, by the same paths, and each caller is refused in its own tongue.
"""

from __future__ import annotations

from secure_rpc.edge.names import (
    CHECK_PATH,
    CORS,
    EXCHANGE,
    EXT_AUTHZ,
    JSON_TRANSCODER,
    LOCAL_RATE_LIMIT,
    Json,
    extension,
    seconds,
)
from secure_rpc.edge.subject import Subject
from secure_rpc.edge.values import Exchange, Rate
from secure_rpc.policy.export import envoy

MOST = 2**63 - 1
GRACE_SECONDS = 1.0  # the process ends an exchange by itself; Envoy does it only where that has not
ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def http_filters(subject: Subject) -> list[Json]:
    """Return the filters, in their order."""
    edge = subject.edge
    with_rest = any(method.is_annotated for method in subject.methods)
    found = [extension(CORS, "filters.http.cors.v3.Cors")]
    if with_rest:
        found.append(_bodies(edge.limits.rest_body_bytes))
    found.append(extension("envoy.filters.http.grpc_web", "filters.http.grpc_web.v3.GrpcWeb"))
    if with_rest:
        found.append(_transcoder(subject))
    found += [_rate(edge.rate), _tokens(subject)]
    if edge.exchange:
        found.append(_exchange(edge.exchange))
    found.append(extension("envoy.filters.http.router", "filters.http.router.v3.Router", suppress_envoy_headers=True))
    return found


def _bodies(most_bytes: int) -> Json:
    """Return what refuses a REST call whose body is too long, or does not say how long it is.

    The transcoder holds a body until it is a whole message, and has no limit that counts what it has already read.
    """
    length, kind = "content-length", {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    long = {"name": length, "range_match": {"start": most_bytes + 1, "end": MOST}}
    with_body = {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PUT|PATCH"}}}
    unsaid = {"name": length, "present_match": False}
    refused = [{"header": long}, {"and_rules": {"rules": [{"header": with_body}, {"header": unsaid}]}}]
    rules = [{"not_rule": {"header": kind}}, {"or_rules": {"rules": refused}}]
    return extension(
        envoy.RBAC_FILTER,
        "filters.http.rbac.v3.RBAC",
        rules={
            "action": "DENY",
            "policies": {"bodies": {"permissions": [{"and_rules": {"rules": rules}}], "principals": [{"any": True}]}},
        },
    )


def _transcoder(subject: Subject) -> Json:
    annotated = {method.path.split("/")[1] for method in subject.methods if method.is_annotated}
    return extension(
        JSON_TRANSCODER,
        "filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(subject.edge.descriptors_file),
        services=[service for service in subject.services if service in annotated],
        convert_grpc_status=True,
        print_options={"always_print_primitive_fields": True, "stream_newline_delimited": True},
        request_validation_options={
            "reject_binding_body_field_collisions": True,
            "reject_unknown_query_parameters": True,
        },
    )


def _rate(rate: Rate) -> Json:
    """Return a limit by address, and one for all: it is there before anybody has shown who they are."""
    return extension(
        LOCAL_RATE_LIMIT,
        "filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="edge",
        filter_enabled=ALWAYS,
        filter_enforced=ALWAYS,
        token_bucket=_bucket(rate.per_second, rate.burst),
        rate_limits=[{"actions": [{"remote_address": {}}]}],
        descriptors=[
            {
                "entries": [{"key": "remote_address"}],  # whichever: each has a bucket of its own
                "token_bucket": _bucket(rate.per_address_per_second, rate.per_address_burst),
            }
        ],
        max_dynamic_descriptors=rate.remembered_addresses,
        rate_limited_as_resource_exhausted=True,
        response_headers_to_add=[
            {"header": {"key": "retry-after", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
    )


def _bucket(per_second: int, burst: int) -> Json:
    return {"max_tokens": burst, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _tokens(subject: Subject) -> Json:
    """Return the filter that verifies tokens; all need one, but for public methods and the page.

    The service verifies them again, and decides: a token that is good here is no more than worth its time.
    """
    public = [method.path for method in subject.methods if method.is_public]
    names = [{"provider_name": issuer.issuer} for issuer in subject.issuers]
    requires = names[0] if len(names) == 1 else {"requires_any": {"requirements": names}}
    return extension(
        envoy.JWT_FILTER,
        "filters.http.jwt_authn.v3.JwtAuthentication",
        providers={issuer.issuer: envoy.provider(issuer) for issuer in subject.issuers},
        rules=[
            *({"match": {"path": path}} for path in [*public, *subject.page]),
            {"match": {"prefix": "/"}, "requires": requires},
        ],
    )


def _exchange(exchange: Exchange) -> Json:
    """Return the filter that puts a token of the service's own issuer in the place of the caller's.

    Whatever goes wrong, the call ends here: the caller's token is not passed on. Routes that need none are left out.
    """
    return extension(
        EXT_AUTHZ,
        "filters.http.ext_authz.v3.ExtAuthz",
        http_service={
            "server_uri": {
                "uri": f"http://{exchange.listen}",
                "cluster": EXCHANGE,
                "timeout": seconds(exchange.timeout_seconds + GRACE_SECONDS),
            },
            "path_prefix": CHECK_PATH,
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": "authorization"}]},
                "allowed_client_headers": {"patterns": [{"exact": "www-authenticate"}]},
            },
        },
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        validate_mutations=True,
    )
