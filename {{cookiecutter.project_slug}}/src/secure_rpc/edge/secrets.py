"""Certificates and CAs, each in a file that Envoy watches (SDS by path): what is renewed is taken up as it runs."""

from __future__ import annotations

from pathlib import Path

from secure_rpc.edge.names import Json, typed
from secure_rpc.edge.values import Bundle, Edge, KeyPair

PUBLIC, WORKLOAD, AUTHORITY = "public", "workload", "authority"


def secrets(edge: Edge) -> dict[str, Json]:
    """Return the files, by name; they name certificates and keys, and hold none."""
    return {
        f"{PUBLIC}.yaml": _pair(PUBLIC, edge.public),
        f"{WORKLOAD}.yaml": _pair(WORKLOAD, edge.workload),
        f"{AUTHORITY}.yaml": _bundle(AUTHORITY, edge.authority),
    }


def reference(edge: Edge, name: str) -> Json:
    """Return how a listener or a cluster refers to one."""
    folder = edge.secrets_folder
    source = {"path": str(folder / f"{name}.yaml"), "watched_directory": {"path": str(folder)}}
    return {"name": name, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}


def _pair(name: str, pair: KeyPair) -> Json:
    return _secret(
        name,
        tls_certificate={
            "certificate_chain": _file(pair.certificate_file),
            "private_key": _file(pair.key_file),
            "watched_directory": {"path": str(pair.watched_folder)},
        },
    )


def _bundle(name: str, bundle: Bundle) -> Json:
    watched = {"path": str(bundle.watched_folder)}
    return _secret(name, validation_context={"trusted_ca": _file(bundle.ca_file), "watched_directory": watched})


def _secret(name: str, **content: Json) -> Json:
    return {"resources": [typed("transport_sockets.tls.v3.Secret", name=name, **content)]}


def _file(path: Path) -> Json:
    return {"filename": str(path)}
