"""An edge for the page: Envoy with TLS in and mTLS out, gRPC-Web, and the files of the page behind it."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

TYPES = "type.googleapis.com/envoy.extensions"


class Files(ThreadingHTTPServer):
    """Serve a folder, on a free port of loopback."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Log nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base names it so
        """Leave it out."""


def configuration(dev: Path, port: int, service_port: int, files_port: int, issuer: str) -> Json:
    """Return the whole configuration.

    Args:
        dev: the folder of certificates.
        port: where it listens.
        service_port: of the service.
        files_port: of the page's files.
        issuer: whom the page may ask besides the edge itself.

    """
    certificate = {
        "certificate_chain": {"filename": str(dev / "server.pem")},
        "private_key": {"filename": str(dev / "server.key")},
    }
    client = {
        "certificate_chain": {"filename": str(dev / "client.pem")},
        "private_key": {"filename": str(dev / "client.key")},
    }
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {issuer}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
    }
    calls = [
        {"match": {"prefix": f"/{service}/"}, "route": {"cluster": "service", "timeout": "0s"}}
        for service in ("order_service.v1.OrderService", "secure_rpc.v1.SessionService")
    ]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "stream_idle_timeout": "0s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [*calls, {"match": {"prefix": "/"}, "route": {"cluster": "files"}}],
                    "response_headers_to_add": [
                        {"header": {"key": key, "value": value}} for key, value in headers.items()
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.grpc_web",
                "typed_config": {"@type": f"{TYPES}.filters.http.grpc_web.v3.GrpcWeb"},
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            },
        ],
    }
    tls_in = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [certificate],
        },
    }
    tls_out = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [client],
            "validation_context": {
                "trusted_ca": {"filename": str(dev / "ca.pem")},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": "spiffe://example.org/service/order-service"}}
                ],
            },
        },
    }
    http2 = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    listener = {
        "name": "edge",
        "address": address(port),
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls_in},
            }
        ],
    }
    strict = {"envoy.features.fail_on_any_deprecated_feature": True}
    service = {
        **cluster("service", service_port),
        "typed_extension_protocol_options": http2,
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls_out},
    }
    return {
        "admin": {"address": address(0)},
        "layered_runtime": {"layers": [{"name": "strict", "static_layer": strict}]},
        "static_resources": {"listeners": [listener], "clusters": [service, cluster("files", files_port)]},
    }


def address(port: int) -> Json:
    """Return an address of loopback."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int) -> Json:
    """Return whom calls are passed on to."""
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
