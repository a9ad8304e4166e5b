"""Holds manifests against the schemas of their kinds, fields that those do not know refused.

Reads manifests as JSON, prints what is wrong with each, or null where it knows no schema; run by the environment of the
lock for deploying.
"""

from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import kubernetes_validate
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

KUBERNETES = ("1.35", "1.36", "1.37")
CORE = ("v1", "apps/", "autoscaling/", "policy/v1", "networking.k8s.io/")
MODELS = {
    "cert-manager.io/v1": "cloudcoil.models.cert_manager.v1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
    "networking.istio.io/v1": "cloudcoil.models.istio.networking.v1",
    "networking.istio.io/v1alpha3": "cloudcoil.models.istio.networking.v1alpha3",
    "security.istio.io/v1": "cloudcoil.models.istio.security.v1",
}


def strict(model: type[BaseModel], seen: set[type[BaseModel]]) -> None:
    """Have a model, and before it all that it is made of, refuse fields that it does not know."""
    seen.add(model)
    for field in model.model_fields.values():
        for part in parts(field.annotation):
            if part not in seen:
                strict(part, seen)
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in get_args(annotation):
        yield from parts(inside)


@cache
def model_of(group: str, kind: str) -> type[BaseModel]:
    """Return the model of a kind."""
    model: type[BaseModel] = getattr(importlib.import_module(MODELS[group]), kind)
    strict(model, set())
    return model


def problems(manifest: dict[str, Any]) -> str | None:
    """Return what is wrong with a manifest, "" where nothing is."""
    group = manifest["apiVersion"]
    try:
        if group in MODELS:
            model_of(group, manifest["kind"]).model_validate(manifest)
        elif group.startswith(CORE):
            for version in KUBERNETES:
                kubernetes_validate.validate(manifest, version, strict=True)
        else:
            return None
    except ValidationError as error:
        return str(error)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return f"{version}: {error}"
    return ""


print(json.dumps([problems(manifest) for manifest in json.load(sys.stdin)]))
