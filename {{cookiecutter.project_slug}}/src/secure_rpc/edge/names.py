"""Envoy's names for things, and how one of its extensions is written down."""

from __future__ import annotations

from typing import Any

TYPE = "type.googleapis.com/"
EXTENSIONS = f"{TYPE}envoy.extensions."

CORS = "envoy.filters.http.cors"
EXT_AUTHZ = "envoy.filters.http.ext_authz"
JSON_TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
LOCAL_RATE_LIMIT = "envoy.filters.http.local_ratelimit"

SERVICE, ADMIN, COLLECTOR, EXCHANGE = "service", "admin", "collector", "exchange"  # clusters

# of the process that exchanges tokens; Envoy puts the path of the call behind the first of them
CHECK_PATH, HEALTH_PATH, METRICS_PATH = "/check", "/healthz", "/metrics"

Json = dict[str, Any]


def extension(name: str, kind: str, **settings: Any) -> Json:
    """Return an extension by its name and the kind of its settings, below `envoy.extensions`."""
    return {"name": name, "typed_config": typed(kind, **settings)}


def typed(kind: str, **settings: Any) -> Json:
    """Return settings that say of which kind they are."""
    return {"@type": f"{EXTENSIONS}{kind}", **settings}


def socket(address: str) -> Json:
    """Return an address of TCP."""
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def seconds(number: float) -> str:
    """Return a duration."""
    return f"{number:g}s"
