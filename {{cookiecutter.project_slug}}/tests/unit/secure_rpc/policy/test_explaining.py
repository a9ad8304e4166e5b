"""An explanation names for each binding what keeps it from applying, and nothing where it applies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.conditions import Asked
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import ANY_CALLER, Engine
from secure_rpc.policy.entries import entries_of
from secure_rpc.policy.explaining import Explanation, explain
from secure_rpc.policy.questions import method_named

from probe.v1 import probe_pb2 as pb
from support.policies import asking
from support.policy_ground import ground_in, policy_of
from support.random_policies import PERMISSIONS, TENANTS, documents, principals

ISSUER = "https://issuer.example.org"
NOW = 1_767_268_800.0  # 2026-01-01 12:00 UTC
ALICE = Principal(issuer=ISSUER, subject="alice", groups=frozenset({"callers"}), tenants=frozenset({"acme"}))
CALLERS = {"issuer": ISSUER, "group": "callers"}


@settings(deadline=None, max_examples=100)
@given(
    document=documents,
    principal=principals,
    permission=st.sampled_from(PERMISSIONS),
    tenant=st.sampled_from(["", *TENANTS]),
)
def test_a_binding_has_no_obstacle_where_the_engine_allows_and_only_there(
    document: PolicyDocument, principal: Principal, permission: str, tenant: str
) -> None:
    contract = Contract(permissions=(permission,), tenant_field="tenant")
    method = asking()
    object.__setattr__(method, "contract", contract)
    found = explain(
        entries_of(document),
        Engine.of(document, clock=lambda: NOW),
        Asked(principal, method, (), None, NOW),
        tenant,
    )
    applies = any(not near.obstacles for near in found.near)
    assert applies is found.allowed
    counts = [len(near.obstacles) for near in found.near]
    assert counts == sorted(counts)


def explained(folder: Path, binding: dict[str, Any], principal: Principal = ALICE, **asked: Any) -> Explanation:
    ground = ground_in(folder)
    method = method_named(asked.get("method", "TenantUnary"), ground.methods)
    document = policy_of({"caller": ["probe.call"]}, {"role": "caller", **binding})
    engine = Engine.of(document, ground.conditions, clock=lambda: NOW)
    return explain(
        entries_of(document),
        engine,
        Asked(principal, method, asked.get("metadata", ()), asked.get("request"), NOW),
        asked.get("tenant", ""),
    )


@pytest.mark.parametrize(
    ("binding", "obstacle"),
    [
        ({"principals": [{"issuer": "https://other", "group": "callers"}]}, "it is for users of https://other"),
        ({"principals": [{"issuer": ISSUER, "subject": "bob"}]}, "it is for the user bob"),
        ({"principals": [{"issuer": ISSUER, "group": "admins"}]}, "the caller is not in the group admins"),
        ({"principals": [{"workload": "spiffe://e.org/x"}]}, "it is for calls without a token"),
        ({"principals": [CALLERS], "expires": "2025-06-01"}, "it has expired on 2025-06-01"),
        ({"principals": [CALLERS], "condition": "principal.subject == 'bob'"}, "its condition is false: principal.sub"),
        ({"principals": [CALLERS], "condition": "metadata['x'] == 'y'"}, "its condition failed (NOT_FOUND: Key not"),
        ({"principals": [CALLERS], "tenants": ["acme"]}, "it is for tenant acme"),
        ({"principals": [CALLERS]}, "it is for the caller's own tenants, and globex is none of them"),
    ],
)
def test_each_obstacle_is_named(tmp_path: Path, binding: dict[str, Any], obstacle: str) -> None:
    found = explained(tmp_path, binding, tenant="globex")
    assert not found.allowed
    [near] = found.near
    assert any(said.startswith(obstacle) for said in near.obstacles), near.obstacles


def test_what_hangs_on_the_request_is_open_until_there_is_one(tmp_path: Path) -> None:
    binding = {"principals": [CALLERS], "condition": "request.count < 3"}
    left_open = explained(tmp_path, binding, tenant="acme")
    assert left_open.decision is not None
    assert (left_open.allowed, left_open.decision.per_message) == (True, True)
    assert left_open.near[0].depends == "on the request: request.count < 3"
    for number in (2, 3):
        found = explained(tmp_path, binding, tenant="acme", request=pb.Ask(tenant="acme", count=number))
        assert found.allowed is (number < 3)


def test_a_public_method_asks_for_nothing(tmp_path: Path) -> None:
    found = explained(tmp_path, {"principals": [CALLERS]}, Principal(), method="Public")
    assert (found.allowed, found.decision, found.near) == (True, None, ())


def test_a_method_open_to_any_caller_is_allowed_to_whoever_is_verified(tmp_path: Path) -> None:
    found = explained(tmp_path, {"principals": [CALLERS]}, Principal(), method="Refresh")
    assert (found.allowed, found.rule, found.near) == (True, ANY_CALLER, ())
