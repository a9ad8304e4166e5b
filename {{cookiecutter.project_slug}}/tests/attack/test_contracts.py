"""Protos, policies and settings that would leave a door open: the server does not start, and says how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application
from secure_rpc.v1.access_pb2 import Access

from support.hostile_protos import service_with_access
from support.target import ISSUER, POLICY, run_target

CALL = ["probe.call"]


async def why_not(
    application: Application,
    folder: Path,
    overrides: dict[str, Any] | None = None,
    policy: str = POLICY,
    add: Callable[[Any], None] = lambda _: None,
) -> str:
    """Return why the server does not start."""
    with pytest.raises(ConfigurationError) as caught:
        async with run_target(application, folder, overrides, policy=policy, add=[add]):
            pass
    return str(caught.value)


PROTOS: dict[str, tuple[Access | None, str]] = {
    "no access rule": (
        None,
        "has no access rule, so nobody can be allowed to call it: add `option (secure_rpc.v1.access)",
    ),
    "an empty access rule": (Access(), 'name one, or say "any_caller: true" or "public: true" if that is meant'),
    "public, with a permission": (
        Access(public=True, permissions=CALL),
        "is public and asks for permissions; keep one",
    ),
    "a star for a permission": (Access(permissions=["*"]), 'the permission "*" is not of the form "things.verb"'),
    "an empty permission": (Access(permissions=[""]), 'the permission "" is not of the form "things.verb"'),
    "an unknown quota class": (Access(permissions=CALL, quota_class="defalt"), 'did you mean "default"?'),
    "an unknown tenant field": (Access(permissions=CALL, tenant_field="tenat"), 'did you mean "tenant"?'),
    "a tenant field that is a number": (Access(permissions=CALL, tenant_field="count"), "is not a single string"),
    "an unknown field to audit": (Access(permissions=CALL, audit_fields=["ac"]), 'did you mean "act"?'),
}


@pytest.mark.parametrize(("access", "remedy"), PROTOS.values(), ids=PROTOS)
async def test_a_method_is_not_served(
    application: Application, tmp_path: Path, access: Access | None, remedy: str
) -> None:
    unsound = service_with_access(access)
    said = await why_not(application, tmp_path, add=unsound.adding())
    assert unsound.path in said
    assert remedy in said


async def test_the_method_that_they_are_made_from_is_sound(application: Application, tmp_path: Path) -> None:
    access = Access(permissions=CALL, tenant_field="tenant", quota_class="default", audit_fields=["act"])
    async with run_target(application, tmp_path, add=[service_with_access(access).adding()]) as target:
        assert await target.is_served()


ROLES = "version: 1\nroles: { caller: { permissions: [probe.call] } }\n"


def binding(who: str) -> str:
    return f"{ROLES}bindings: [{{ role: caller, principals: [{who}] }}]"


POLICIES = {
    "an unknown permission": ("version: 1\nroles: { a: { permissions: [probe.cal] } }", 'did you mean "probe.call"?'),
    "a permission for everything": ('version: 1\nroles: { a: { permissions: ["*"] } }', 'asks for the permission "*"'),
    "an unknown role": (POLICY.replace("role: caller", "role: calle"), 'did you mean "caller"?'),
    "an unknown included role": ("version: 1\nroles: { a: { includes: [b] } }", 'the role "b" is not defined'),
    "roles in a circle": (
        "version: 1\nroles: { a: { includes: [b] }, b: { includes: [a] } }",
        "in a circle: a -> b -> a",
    ),
    "an unknown key": (POLICY.replace("tenants:", "tenant:"), 'did you mean "tenants"?'),
    "a key that stands twice": (POLICY + "version: 1\n", 'the key "version" stands twice'),
    "a subject of any issuer": (binding("{ subject: alice }"), 'need "issuer"'),
    "a group of any issuer": (binding("{ group: callers }"), 'need "issuer"'),
    "nobody in particular": (binding(f'{{ issuer: "{ISSUER}" }}'), 'name a "subject"'),
    "a workload of any trust domain": (binding('{ workload: "spiffe://*/client" }'), "names its trust domain in full"),
    "a workload that is no id": (binding('{ workload: "*" }'), "is a SPIFFE ID"),
    "no tenant": (POLICY.replace("tenants: own", "tenants: []"), "tenants"),
    "another version": (POLICY.replace("version: 1", "version: 2"), "version"),
    "no map": ("[]", "policy.yaml"),
}


@pytest.mark.parametrize(("policy", "remedy"), POLICIES.values(), ids=POLICIES)
async def test_a_policy_is_not_taken(application: Application, tmp_path: Path, policy: str, remedy: str) -> None:
    said = await why_not(application, tmp_path, policy=policy)
    assert remedy in said
    assert "policy.yaml" in said


HEALTH = "/grpc.health.v1.Health/Check"
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a contract for nothing": ({"/probe.v1.ProbeService/Unari": {"public": True}}, "/probe.v1.ProbeService/Unary"),
    "a contract in two places": ({"/probe.v1.ProbeService/Unary": {"public": True}}, "remove the one in the settings"),
    "health without a contract": ({HEALTH: {"public": False}}, f"{HEALTH}: asks for no permission"),
    "a permission that is none": (
        {HEALTH: {"public": False, "permissions": ["everything"]}},
        'not of the form "things.verb"',
    ),
}


@pytest.mark.parametrize(("contracts", "remedy"), SETTINGS.values(), ids=SETTINGS)
async def test_contracts_of_the_settings_are_not_taken(
    application: Application, tmp_path: Path, contracts: dict[str, Any], remedy: str
) -> None:
    overrides = {"authorization": {"policy_file": tmp_path / "policy.yaml", "contracts": contracts}}
    assert remedy in await why_not(application, tmp_path, overrides)


async def test_a_server_for_tls_1_2_does_not_start_in_a_process_for_1_3(
    application: Application, tmp_path: Path
) -> None:
    said = await why_not(application, tmp_path, {"tls": {"minimum_version": "TLSv1.2"}})
    assert "tls.minimum_version is TLSv1.2, but this process was started for TLSv1.3" in said
