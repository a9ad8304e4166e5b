"""Holds documents against the schemas of Istio's kinds, fields that they do not know refused.

Reads documents as JSON, prints what is wrong with each; run by the environment of the meshes' lock.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from cloudcoil.models.istio.security import v1
from pydantic import BaseModel, ValidationError


def strict() -> None:
    """Have all parts of all kinds refuse fields that they do not know; as they come, they pass over them."""
    for part in list(vars(v1).values()):  # what a part is made of stands before it
        if isinstance(part, type) and issubclass(part, BaseModel):
            part.model_config["extra"] = "forbid"
            part.model_rebuild(force=True)


def problems(document: dict[str, Any]) -> str:
    """Return what is wrong with a document, "" where nothing is."""
    try:
        getattr(v1, document["kind"]).model_validate(document)
    except ValidationError as error:
        return str(error)
    return ""


strict()
print(json.dumps([problems(document) for document in json.load(sys.stdin)]))
