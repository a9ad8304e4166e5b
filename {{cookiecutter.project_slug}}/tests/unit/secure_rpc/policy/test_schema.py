"""The schemas for editors: those that are kept are those that the models give; good files pass, typos do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from secure_rpc.policy import schema as schemas
from secure_rpc.policy.schema import SCHEMAS, Names, schema, text

from support.policy_ground import CASES, POLICY

KEPT = Path(schemas.__file__).parent
NAMES = Names(
    permissions=["x.read"], issuers=["https://i"], roles=["reader"], methods=["Get"], principals=["alice"]
)._replace(quota_classes=["default", "bulk"])


def plain(yaml_text: str) -> Any:
    """Return YAML as editors see it: times are text."""
    import yaml  # noqa: PLC0415

    return yaml.load(yaml_text, yaml.BaseLoader) | {"version": 1}  # noqa: S506  # makes nothing but text


def faults(name: str, data: Any, names: Names | None = None) -> list[str]:
    made = schema(name, names)
    jsonschema.Draft7Validator.check_schema(made)
    return [str(error.json_path) for error in jsonschema.Draft7Validator(made).iter_errors(data)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_that_is_kept_is_the_one_that_the_model_gives(name: str) -> None:
    kept = (KEPT / f"{name}.schema.json").read_text(encoding="utf-8")
    assert kept == text(name), f"run: policy schema {name} --any-service >src/secure_rpc/policy/{name}.schema.json"


def test_good_files_pass() -> None:
    assert faults("policy", plain(POLICY)) == []
    assert faults("policy_test", plain(CASES)) == []
    assert faults("rollout", {"candidate": "next.yaml", "percent": 5}) == []


def policy(role: dict[str, Any] | None = None, who: dict[str, Any] | None = None, **binding: Any) -> dict[str, Any]:
    usual = {"role": "reader", "principals": [{"issuer": "https://i", "group": "g"} if who is None else who]}
    return {"version": 1, "roles": {"reader": role or {"permissions": ["x.read"]}}, "bindings": [usual | binding]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2, "roles": {}},
        {"version": 1},
        policy({"permissons": ["x.read"]}),
        policy({"permissions": ["read"]}),
        policy({"quotas": {"default": {"calls": 0}}}),
        policy({"quotas": {"default": {"cals": 1}}}),
        policy(who={"group": "g"}),
        policy(who={"issuer": "https://i"}),
        policy(who={"isuer": "https://i", "group": "g"}),
        policy(who={"workload": "orders"}),
        policy(tenants="everybody"),
        policy(tenants=[]),
        policy(principals=[]),
        policy(conditions="true"),
    ],
)
def test_what_the_loader_refuses_is_underlined(wrong: dict[str, Any]) -> None:
    assert faults("policy", policy()) == []
    assert faults("policy", wrong) != []


def test_the_schema_of_a_service_knows_its_permissions_and_issuers() -> None:
    assert faults("policy", policy(), NAMES) == []
    assert faults("policy", policy({"permissions": ["x.raed"]}), NAMES) == ["$.roles.reader.permissions[0]"]
    assert faults("policy", policy({"quotas": {"bulk": {"calls": 1}}}), NAMES) == []
    assert faults("policy", policy({"quotas": {"blk": {"calls": 1}}}), NAMES) == ["$.roles.reader.quotas"]
    assert faults("policy", policy(who={"issuer": "https://j", "group": "g"}), NAMES) == [
        "$.bindings[0].principals[0].issuer"
    ]
    cases = json.dumps(schema("policy_test", NAMES))
    assert '"examples": ["alice"]' in cases
    assert '"examples": ["Get"]' in cases
