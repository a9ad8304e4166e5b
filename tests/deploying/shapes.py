"""The shapes of kinds that no package describes: each field that a manifest may have, and what it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# a value: a type; a tuple of what it may be; [of each item]; {of each key, "key?" where it may be missing}; or any map
Shape = Any
MAP: Shape = dict
SELECTOR = {"matchLabels": MAP}
REFERENCE = {"group": str, "kind": str, "name": str}
KINDS: dict[tuple[str, str], Shape] = {
    ("trust.cert-manager.io/v1alpha1", "Bundle"): {
        "sources": [{"secret": {"name?": str, "selector?": SELECTOR, "key": str}}],
        "target": {"configMap": {"key": str}, "namespaceSelector": SELECTOR},
    },
    ("external-secrets.io/v1", "ExternalSecret"): {
        "refreshInterval": str,
        "secretStoreRef": {"kind": ("ClusterSecretStore", "SecretStore"), "name": str},
        "target": {"name": str, "creationPolicy": ("Owner",)},
        "data": [{"secretKey": str, "remoteRef": {"key": str, "property": str}}],
    },
    ("policy.linkerd.io/v1beta3", "Server"): {
        "podSelector": SELECTOR,
        "port": int,
        "proxyProtocol": ("opaque", "TLS", "gRPC"),
        "accessPolicy": ("deny",),
    },
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"): {"identities": [str]},
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"): {
        "targetRef": REFERENCE,
        "requiredAuthenticationRefs": [REFERENCE],
    },
}
CLUSTER_SCOPED = {"Bundle", "Namespace"}


def problems(manifest: dict[str, Any]) -> str | None:
    """Return what is wrong with a manifest, "" where nothing is, none for a kind without a shape."""
    shape = KINDS.get((manifest["apiVersion"], manifest["kind"]))
    if shape is None:
        return None
    metadata = {"name": str, "namespace?": str, "labels?": MAP, "annotations?": MAP}
    whole = {"apiVersion": str, "kind": str, "metadata": metadata, "spec": shape}
    return _differs(manifest, whole, manifest["kind"]) or ""


def _differs(value: object, shape: Shape, place: str) -> str:
    if isinstance(shape, tuple):
        return "" if value in shape else f"{place}: {value!r} is none of {shape}"
    if isinstance(shape, type):
        return "" if type(value) is shape and value else f"{place}: {value!r} is no {shape.__name__}, or empty"
    if not isinstance(value, type(shape)) or not value:
        return f"{place}: {value!r} is no {type(shape).__name__}, or empty"
    if isinstance(value, list):
        return _first(_differs(item, shape[0], f"{place}[{number}]") for number, item in enumerate(value))
    known = {key.rstrip("?"): part for key, part in shape.items()}
    needed = {key for key in shape if not key.endswith("?")}
    if value.keys() - known.keys() or needed - value.keys():
        return f"{place}: has {sorted(value)}, of {sorted(shape)}"
    return _first(_differs(item, known[key], f"{place}.{key}") for key, item in value.items())


def _first(said: Iterator[str]) -> str:
    return next(filter(None, said), "")


def misplaced(manifest: dict[str, Any]) -> bool:
    """Tell whether a manifest has a namespace though its kind has none, or none though it needs one."""
    return ("namespace" in manifest["metadata"]) == (manifest["kind"] in CLUSTER_SCOPED)
