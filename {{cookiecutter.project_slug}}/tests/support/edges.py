"""An edge before a service that is there in name alone, and what is built for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secure_rpc.edge import building
from secure_rpc.edge.subject import Exposed, Subject
from secure_rpc.edge.values import Edge
from secure_rpc.policy.export.common import TokenIssuer

PAIR = {"certificate_file": "/tls/tls.crt", "key_file": "/tls/tls.key", "watched_folder": "/tls"}
EDGE: dict[str, Any] = {
    "settings": "config/dev.yaml",
    "listen": "0.0.0.0:8443",
    "probes": "0.0.0.0:8080",
    "admin_socket": "/run/edge/admin.sock",
    "service": "orders:50051",
    "service_id": "spiffe://example.org/service/orders",
    "public": PAIR,
    "workload": PAIR,
    "authority": {"ca_file": "/tls/ca.crt", "watched_folder": "/tls"},
    "secrets_folder": "/etc/envoy",
    "descriptors_file": "/etc/envoy/image.binpb",
}
GET = Exposed("/shop.v1.Orders/Get", is_public=False, is_streaming=False, is_annotated=True)
WATCH = Exposed("/shop.v1.Orders/Watch", is_public=False, is_streaming=True, is_annotated=True)
ABOUT = Exposed("/shop.v1.Orders/About", is_public=True, is_streaming=False, is_annotated=False)
ISSUER = TokenIssuer("https://issuer.example.org", ("orders",), jwks_url="https://issuer.example.org/jwks")


def subject(*methods: Exposed, files: dict[str, Path] | None = None, **changes: Any) -> Subject:
    edge = Edge.model_validate({**EDGE, **changes})
    return Subject(edge, ["shop.v1.Orders"], methods or (GET, WATCH, ABOUT), [ISSUER], 300.0, 16_384, files or {})


def manager(of: Subject) -> dict[str, Any]:
    """Return the settings of HTTP, where callers come in."""
    listener = building.bootstrap(of)["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def routes(of: Subject) -> dict[str, dict[str, Any]]:
    (host,) = manager(of)["route_config"]["virtual_hosts"]
    return {route["match"].get("path", "else"): route for route in host["routes"]}


def filters(of: Subject) -> dict[str, dict[str, Any]]:
    return {each["name"].rpartition(".")[2]: each["typed_config"] for each in manager(of)["http_filters"]}
