"""The JSON schemas of the policy's files, for editors: what they know, they complete and underline.

They are looser than the loader, which also knows what roles, permissions and issuers there are.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from pydantic import BaseModel

from secure_rpc.policy.cases import CaseTable
from secure_rpc.policy.contract import PERMISSION
from secure_rpc.policy.document import OTHER_NAMES, Policy
from secure_rpc.policy.shadow import Rollout

DRAFT = "http://json-schema.org/draft-07/schema#"  # what every editor knows
SCHEMAS: dict[str, type[BaseModel]] = {"policy": Policy, "policy_test": CaseTable, "rollout": Rollout}


class Names(NamedTuple):
    """What one service has, for schemas of its own."""

    permissions: Collection[str] = ()
    issuers: Collection[str] = ()
    roles: Collection[str] = ()
    methods: Collection[str] = ()
    principals: Collection[str] = ()  # of the table of cases
    quota_classes: Collection[str] = ()


def schema(name: str, names: Names | None = None) -> dict[str, Any]:
    """Return the schema of one of the files.

    Args:
        name: one of `SCHEMAS`.
        names: what the service has; None for the schema that fits every service.
    """
    made = _plain(SCHEMAS[name].model_json_schema())
    made = {"$schema": DRAFT, **made}
    definitions = made.get("$defs", {})
    if name == "policy":
        _refine_policy(definitions, names)
    elif name == "policy_test":
        _refine_cases(definitions, names)
    return made


def text(name: str, names: Names | None = None) -> str:
    """Return the schema of one of the files as it stands in a file."""
    return json.dumps(schema(name, names), indent=2, ensure_ascii=False) + "\n"


def _refine_policy(definitions: dict[str, Any], names: Names | None) -> None:
    role, who, binding = (definitions[each]["properties"] for each in ("Role", "Who", "Binding"))
    binding["expires"]["anyOf"].insert(0, {"format": "date", "type": "string"})
    role["permissions"]["items"]["pattern"] = f"^{PERMISSION.pattern}$"
    who["workload"]["pattern"] = f"^({'|'.join(('spiffe://', *OTHER_NAMES))})"
    definitions["Who"]["anyOf"] = [{"required": [key]} for key in ("subject", "group", "workload")]
    definitions["Who"]["dependencies"] = {
        "subject": ["issuer"],
        "group": ["issuer"],
        "issuer": {"anyOf": [{"required": ["subject"]}, {"required": ["group"]}]},
    }
    if names is not None:
        role["permissions"]["items"]["enum"] = sorted(names.permissions)
        role["includes"]["items"]["examples"] = sorted(names.roles)
        role["quotas"]["propertyNames"] = {"enum": sorted(names.quota_classes)}
        who["issuer"]["enum"] = sorted(names.issuers)
        binding["role"]["examples"] = sorted(names.roles)


def _refine_cases(definitions: dict[str, Any], names: Names | None) -> None:
    somebody, case = (definitions[each]["properties"] for each in ("Somebody", "Case"))
    somebody["workload"]["pattern"] = f"^({'|'.join(('spiffe://', *OTHER_NAMES))})"
    definitions["Somebody"]["dependencies"] = {"issuer": ["subject"], "subject": ["issuer"]}
    definitions["Somebody"]["anyOf"] = [{"required": [key]} for key in ("subject", "workload")]
    if names is not None:
        somebody["issuer"]["enum"] = sorted(names.issuers)
        for key, known in (("principals", names.principals), ("methods", names.methods)):
            for each in (case[key]["anyOf"][0], case[key]["anyOf"][1]["items"]):
                each["examples"] = sorted(known)


def _plain(value: Any) -> Any:
    """Return a schema without the titles that only repeat the keys, and without line breaks in texts."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _plain(each) for key, each in value.items() if key != "title" or not isinstance(each, str)}
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    return found
