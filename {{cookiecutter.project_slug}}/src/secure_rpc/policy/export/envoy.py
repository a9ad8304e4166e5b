"""Rules for Envoy: its JWT filter, its RBAC filter, and clusters to fetch keys from.

All that the engine decides by principal and method comes out exactly, but for what `Export.inexpressible` lists.
Field names are those of the v3 API: envoy.extensions.filters.http.jwt_authn, envoy.config.rbac, envoy.type.matcher.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from secure_rpc.policy.export.common import (
    API_KEY_HEADER,
    API_KEY_ISSUER,
    SCHEMES,
    SERVICE_DECIDES,
    Access,
    Clause,
    Export,
    Inexpressible,
    Rule,
    TokenIssuer,
    claim_paths,
    lost_api_keys,
)
from secure_rpc.policy.export.envoy_principals import certificate_of, every, lost_of_workload, one_of

JWT_FILTER = "envoy.filters.http.jwt_authn"
RBAC_FILTER = "envoy.filters.http.rbac"
TYPE_URL = "type.googleapis.com/envoy.extensions."
PAYLOAD = "token"  # where the JWT filter leaves the claims of a verified token, for the RBAC filter
SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"
HTTPS_PORT = 443
TLS_1_2_OR_1_3 = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}

_TOKEN = {"header": {"name": "authorization", "string_match": {"safe_regex": {"regex": ".+"}}}}
_JWT = {"header": {"name": "authorization", "string_match": {"safe_regex": {"regex": r"[^.]*\.[^.]*\.[^.]*"}}}}
_API_KEY = {"header": {"name": API_KEY_HEADER, "string_match": {"safe_regex": {"regex": ".+"}}}}


def export(access: Access) -> Export:
    """Return the filters, to stand before the router in this order, and the clusters that they need."""
    writer = _Writer(access)
    policies = {rule.asked: writer.policy(rule) for rule in access.rules}
    rbac = {"@type": f"{TYPE_URL}filters.http.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": policies}}
    filters = [{"name": RBAC_FILTER, "typed_config": rbac}]
    verified = [issuer for issuer in access.issuers if _has_keys(issuer)]
    if verified:
        filters.insert(0, {"name": JWT_FILTER, "typed_config": _jwt_filter(access, verified, opaque=writer.opaque)})
    clusters = {found["name"]: found for issuer in verified if issuer.jwks_url for found in [cluster(issuer)]}
    document: dict[str, Any] = {"http_filters": filters}
    if clusters:
        document["clusters"] = list(clusters.values())
    return Export([document], [*access.inexpressible, *_lost(access)])


class _Writer:
    """Write principals for one set of issuers."""

    def __init__(self, access: Access) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in access.issuers}
        self._api_keys = access.api_keys
        self.opaque = any(issuer.opaque_tokens for issuer in access.issuers)

    def policy(self, rule: Rule) -> dict[str, Any]:
        """Return an RBAC policy; its principals are alternatives."""
        paths = [{"header": {"name": ":path", "string_match": {"exact": path}}} for path in rule.paths]
        needs = [[self._principal(clause) for clause in need] for need in rule.needs]
        if rule.is_open:
            principals = [{"any": True}]
        elif len(needs) == 1:
            principals = needs[0]
        else:
            principals = [every([one_of(need) for need in needs])]
        return {"permissions": paths, "principals": principals}

    def _principal(self, clause: Clause) -> dict[str, Any]:
        workload = [certificate_of(clause.workload)] if clause.workload else []
        if clause.issuer == API_KEY_ISSUER:
            return every([_API_KEY, *workload])
        if clause.issuer:
            return every([self._user(clause), *workload])
        absent = [_TOKEN, _API_KEY] if self._api_keys else [_TOKEN]
        return every([*workload, *({"not_id": shown} for shown in absent)])

    def _user(self, clause: Clause) -> dict[str, Any]:
        issuer = self._issuers.get(clause.issuer) or TokenIssuer(clause.issuer, ())
        named = [_claim("iss", _text(clause.issuer))]
        if clause.subject:
            named.append(_claim(issuer.subject_claim, _text(clause.subject)))
        if clause.group:
            named.append(_claim(issuer.groups_claim, _text_or_list(clause.group)))
        if not issuer.opaque_tokens:
            return every(named)
        judged = _JWT if _has_keys(issuer) else _metadata(("iss",), {"present_match": True})
        return one_of([every(named), every([_TOKEN, {"not_id": judged}])])


def _metadata(path: tuple[str, ...], value: dict[str, Any]) -> dict[str, Any]:
    keys = [{"key": part} for part in (PAYLOAD, *path)]
    return {"sourced_metadata": {"metadata_matcher": {"filter": JWT_FILTER, "path": keys, "value": value}}}


def _claim(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return whose verified token has a claim with this value."""
    return one_of([_metadata(path, value) for path in claim_paths(name)])


def _text(value: str) -> dict[str, Any]:
    return {"string_match": {"exact": value}}


def _text_or_list(value: str) -> dict[str, Any]:
    return {"or_match": {"value_matchers": [_text(value), {"list_match": {"one_of": _text(value)}}]}}


def _has_keys(issuer: TokenIssuer) -> bool:
    return bool(issuer.jwks_url or issuer.jwks_file)


def _jwt_filter(access: Access, issuers: list[TokenIssuer], *, opaque: bool) -> dict[str, Any]:
    """Return the filter that verifies tokens: a call without one goes on, one with a bad one ends.

    Where opaque tokens are taken, a call with a token that is no good goes on too, as one that has proven nothing.
    Of public methods, nobody looks at the token.
    """
    without: dict[str, Any] = {"allow_missing_or_failed": {}} if opaque else {"allow_missing": {}}
    requirements = [*({"provider_name": issuer.issuer} for issuer in issuers), without]
    public = [path for rule in access.rules if rule.public for path in rule.paths]
    return {
        "@type": f"{TYPE_URL}filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {issuer.issuer: provider(issuer) for issuer in issuers},
        "rules": [
            *({"match": {"path": path}} for path in public),
            {"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": requirements}}},
        ],
    }


def provider(issuer: TokenIssuer) -> dict[str, Any]:
    """Return how an issuer's tokens are verified."""
    return {
        "issuer": issuer.issuer,
        "audiences": list(issuer.audiences),
        "from_headers": [{"name": "authorization", "value_prefix": scheme} for scheme in SCHEMES],
        "forward": True,  # the service verifies the token again
        "require_expiration": True,
        "clock_skew_seconds": math.ceil(issuer.leeway_seconds),
        "payload_in_metadata": PAYLOAD,
        **_keys(issuer),
    }


def _keys(issuer: TokenIssuer) -> dict[str, Any]:
    if not issuer.jwks_url:
        return {"local_jwks": {"filename": issuer.jwks_file}}
    fetch = {
        "uri": issuer.jwks_url,
        "cluster": _cluster_name(issuer.jwks_url),
        "timeout": f"{issuer.timeout_seconds:g}s",
    }
    return {
        "remote_jwks": {"http_uri": fetch, "cache_duration": f"{issuer.refresh_seconds:g}s", "async_fetch": {}},
    }


def _cluster_name(url: str) -> str:
    return f"jwks {urlsplit(url).netloc}"


def cluster(issuer: TokenIssuer) -> dict[str, Any]:
    """Return how the server with an issuer's keys is reached."""
    parts = urlsplit(issuer.jwks_url)
    host = parts.hostname or ""
    address = {"socket_address": {"address": host, "port_value": parts.port or HTTPS_PORT}}
    kind = "IP_ADDRESS" if _is_address(host) else "DNS"
    validation = {
        "trusted_ca": {"filename": issuer.ca_file or SYSTEM_CAS},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
    }
    tls = {
        "@type": f"{TYPE_URL}transport_sockets.tls.v3.UpstreamTlsContext",
        # Envoy by itself goes no higher than 1.2, which many an issuer speaks no more
        "common_tls_context": {"tls_params": TLS_1_2_OR_1_3, "validation_context": validation},
        **({"sni": host} if kind == "DNS" else {}),
    }
    name = _cluster_name(issuer.jwks_url)
    return {
        "name": name,
        "type": "LOGICAL_DNS",  # of all addresses, the one that answers first
        "dns_lookup_family": "ALL",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _lost(access: Access) -> Iterator[Inexpressible]:
    yield from lost_api_keys(access)
    for issuer in access.issuers:
        if issuer.opaque_tokens:
            yield Inexpressible(
                "settings: authentication.issuers",
                f"opaque tokens of {issuer.issuer}",
                "only the issuer can tell whose they are",
                f"whoever sends a token that Envoy cannot verify passes as any user; {SERVICE_DECIDES} what is none",
            )
    for clause, place in access.places.items():
        yield from lost_of_workload(clause.workload, place)
