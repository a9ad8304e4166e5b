"""Envoy's configuration, built: always the same files, byte for byte."""

from __future__ import annotations

from pathlib import Path

import yaml

from secure_rpc.edge.clusters import clusters
from secure_rpc.edge.listeners import listeners
from secure_rpc.edge.names import Json, extension
from secure_rpc.edge.secrets import secrets
from secure_rpc.edge.subject import Subject
from secure_rpc.edge.values import Edge

ENVOY = "envoy.yaml"
HEAP = "envoy.resource_monitors.fixed_heap"
UNFOLDED = 1_000_000  # lines end where their text does, whatever the service is called
OWNER_ONLY = 0o600


def built(subject: Subject, header: str) -> dict[Path, str]:
    """Return all files, by their place in the folder.

    Args:
        subject: the edge, and what it stands before.
        header: says in each file what it was built from.
    """
    edge = subject.edge
    found = {ENVOY: bootstrap(subject), **secrets(edge)}
    return {Path(name): f"# {header}\n{_yaml(content)}" for name, content in found.items()}


def bootstrap(subject: Subject) -> Json:
    """Return the whole configuration."""
    edge = subject.edge
    return {
        "node": {"id": "edge", "cluster": "edge"},
        # a socket in a folder of the edge's own: no port leads to it
        "admin": {"address": {"pipe": {"path": str(edge.admin_socket), "mode": OWNER_ONLY}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "strict",
                    "static_layer": {
                        # what will be gone in the next Envoy is noticed with this one
                        "envoy.features.fail_on_any_deprecated_feature": True,
                    },
                }
            ]
        },
        "overload_manager": _overload(edge),
        "static_resources": {"listeners": listeners(subject), "clusters": clusters(subject)},
    }


def _overload(edge: Edge) -> Json:
    """Return what is done before the edge has no more memory or connections: it refuses first, and does not die."""

    def above(threshold: float) -> Json:
        return {"name": HEAP, "threshold": {"value": threshold}}

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            extension(
                HEAP, "resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=edge.limits.heap_bytes
            ),
            extension(
                "envoy.resource_monitors.global_downstream_max_connections",
                "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=edge.limits.connections,
            ),
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": [above(0.9)]},
            {"name": "envoy.overload_actions.disable_http_keepalive", "triggers": [above(0.92)]},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": [above(0.95)]},
        ],
    }


def write(files: dict[Path, str], folder: Path) -> list[Path]:
    """Write the files, and return those that have changed.

    Args:
        files: by their place in the folder.
        folder: where they go.
    """
    changed = []
    for name, content in files.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            changed.append(path)
    return changed


class _Dumper(yaml.SafeDumper):
    """Writes each part out where it stands: an alias would be hard to read."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _yaml(content: object) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=UNFOLDED, allow_unicode=True)
