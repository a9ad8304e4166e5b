"""The mesh's way: Envoy with mutual TLS, JWT, RBAC, local rate limit and access log, before bare gRPC in plaintext.

This process serves in plaintext on loopback, and Envoy is its child. The token is verified by Envoy, which also sees to
the groups and to the quota; the tenant of a request is nothing that it can see.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks.servers.common import CERTIFICATES, add_service, say_serving

ENVOY = Path("build/envoy")
CONFIG, LOG = Path("build/sidecar.json"), "build/sidecar-access.log"
AUDIENCE, ISSUER = "order-service", "https://issuer.example.org"
GROUPS = ("readers", "writers", "admins")
ENOUGH = 1_000_000
PATIENCE_SECONDS = 20.0
TYPES = "type.googleapis.com/envoy.extensions"


def configuration(port: int, behind: int) -> dict[str, Any]:
    """Return Envoy's configuration.

    Args:
        port: that it listens on.
        behind: that gRPC listens on.
    """
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": behind}}}}
    protocol: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    cluster = {
        "name": "service",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions", **protocol,
            }
        },
        "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }  # fmt: skip
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "sidecar",
        "codec_type": "HTTP2",
        "access_log": [
            {"name": "file", "typed_config": {"@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": LOG}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}],
                }
            ]
        },
        "http_filters": _filters(),
    }
    listener = {
        "name": "sidecar",
        "address": address,
        "filter_chains": [
            {
                "filters": [{"name": "http", "typed_config": manager}],
                "transport_socket": {"name": "tls", "typed_config": _tls()},
            }
        ],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _filters() -> list[dict[str, Any]]:
    jwks = (CERTIFICATES / "jwks.json").read_text(encoding="utf-8")
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": jwks},
        "payload_in_metadata": "token",
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}
    claim = {"filter": "envoy.filters.http.jwt_authn", "path": [{"key": "token"}, {"key": "groups"}]}
    groups = [
        {
            "sourced_metadata": {
                "metadata_matcher": {**claim, "value": {"list_match": {"one_of": {"string_match": {"exact": group}}}}},
                "metadata_source": "DYNAMIC",
            }
        }
        for group in GROUPS
    ]
    path = {"url_path": {"path": {"prefix": "/order_service.v1.OrderService/"}}}
    policies = {"callers": {"permissions": [path], "principals": groups}}
    bucket = {"max_tokens": ENOUGH, "tokens_per_fill": ENOUGH, "fill_interval": "1s"}
    full = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = {"stat_prefix": "limit", "token_bucket": bucket, "filter_enabled": full, "filter_enforced": full}
    kinds: dict[str, dict[str, Any]] = {
        "jwt_authn.v3.JwtAuthentication": {"providers": {"issuer": provider}, "rules": [rule]},
        "rbac.v3.RBAC": {"rules": {"action": "ALLOW", "policies": policies}},
        "local_ratelimit.v3.LocalRateLimit": limit,
        "router.v3.Router": {},
    }
    return [
        {
            "name": f"envoy.filters.http.{kind.partition('.')[0]}",
            "typed_config": {"@type": f"{TYPES}.filters.http.{kind}", **settings},
        }
        for kind, settings in kinds.items()
    ]


def _tls() -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": str(CERTIFICATES / "server.pem")},
        "private_key": {"filename": str(CERTIFICATES / "server.key")},
    }
    return {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            "tls_certificates": [pair],
            "validation_context": {"trusted_ca": {"filename": str(CERTIFICATES / "ca.pem")}},
        },
    }


async def _serve() -> None:
    server = grpc.aio.server()
    add_service(server)
    behind = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    envoy = _start_envoy(port, behind)
    try:
        await _listening(port, envoy)
        say_serving(port)
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        await stopping.wait()
    finally:
        envoy.terminate()
        envoy.wait()
        await server.stop(1)


def _start_envoy(port: int, behind: int) -> subprocess.Popen[bytes]:
    CONFIG.write_text(json.dumps(configuration(port, behind)), encoding="utf-8")
    [program] = ENVOY.glob("lib/python*/site-packages/envoy/_bin/envoy")
    return subprocess.Popen(
        [program, "-c", CONFIG, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    )


async def _listening(port: int, envoy: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if envoy.poll() is not None:
                    sys.exit("Envoy has ended")
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def main() -> None:
    """Serve until SIGTERM."""
    uvloop.run(_serve())
