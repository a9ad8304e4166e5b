"""The compiled policy against ten lines that say what it means, and what must hold of any policy."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.document import Policy, Who, load, permissions_of
from secure_rpc.policy.engine import Decision, Engine

from support.policies import asking

PERMISSIONS = ("a.read", "a.write", "b.read")
TENANTS = ("acme", "globex", "initech")
ISSUERS = ("https://one.example", "https://two.example")
NAMES = ("alice", "bob", "admins")
WORKLOADS = ("spiffe://e.org/ns/a", "spiffe://e.org/ns/b", "spiffe://e.org/ns/a/b")
PATTERNS = (*WORKLOADS, "spiffe://e.org/ns/*", "spiffe://e.org/*/a")


NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z
CONDITIONS: dict[str, Callable[[Principal, dict[str, str]], bool]] = {
    "": lambda _who, _metadata: True,
    "false": lambda _who, _metadata: False,
    "'admins' in principal.groups": lambda who, _metadata: "admins" in who.groups,
    "metadata['x'] == 'yes'": lambda _who, metadata: metadata.get("x") == "yes",
    "1 / size(principal.tenants) == 1": lambda who, _metadata: len(who.tenants) == 1,
    "now == timestamp('2030-01-01T00:00:00Z')": lambda _who, _metadata: True,
}


def reference(
    policy: Policy, principal: Principal, contract: Contract, metadata: dict[str, str]
) -> tuple[bool, set[str]]:
    """Return whether the call is allowed, and for which tenants."""
    given: dict[str, set[str]] = {}
    for binding in policy.bindings:
        ended = binding.expires is not None and binding.expires <= datetime(2030, 1, 1, tzinfo=UTC)
        if ended or not CONDITIONS[binding.condition](principal, metadata):
            continue
        if any(is_meant(who, principal) for who in binding.principals):
            own, listed = set(principal.tenants), set(binding.tenants)
            tenants = own if binding.tenants == "own" else set(TENANTS) if binding.tenants == "all" else listed
            for permission in permissions_of(policy, binding.role):
                given.setdefault(permission, set()).update(tenants)
    asked = [given.get(name) for name in contract.permissions]
    if contract.any_permissions:
        several = [given[name] for name in contract.any_permissions if name in given]
        asked.append(set().union(*several) if several else None)
    granted = [tenants for tenants in asked if tenants is not None]
    allowed = bool(asked) and len(granted) == len(asked)
    return allowed, set.intersection(*granted) if allowed else set()


def is_meant(who: Who, principal: Principal) -> bool:
    pattern = re.escape(who.workload).replace(r"\*", "[^/]+")
    return (
        (not who.workload or re.fullmatch(pattern, principal.workload) is not None)
        and (not who.issuer or who.issuer == principal.issuer)
        and (not who.subject or who.subject == principal.subject)
        and (not who.group or who.group in principal.groups)
        and bool(who.subject or who.group) is bool(principal.subject)  # a workload alone: calls without token
    )


names = st.sampled_from(NAMES)
who: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.builds(dict, workload=st.sampled_from(PATTERNS)),
    st.fixed_dictionaries(
        {"issuer": st.sampled_from(ISSUERS), "subject": names},
        optional={"group": names, "workload": st.sampled_from(PATTERNS)},
    ),
    st.fixed_dictionaries(
        {"issuer": st.sampled_from(ISSUERS), "group": names}, optional={"workload": st.sampled_from(PATTERNS)}
    ),
)
bindings = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["r0", "r1", "r2"]),
        "principals": st.lists(who, min_size=1, max_size=2),
        "tenants": st.sampled_from(["own", "all"]) | st.lists(st.sampled_from(TENANTS), min_size=1, unique=True),
    },
    optional={
        "condition": st.sampled_from(list(CONDITIONS)),
        "expires": st.sampled_from([date(2029, 12, 31), date(2030, 1, 1), date(2030, 1, 2)]),
    },
)
metadata = st.sampled_from([{}, {"x": "yes"}, {"x": "no"}])
permissions = st.lists(st.sampled_from(PERMISSIONS), max_size=2, unique=True)
roles = st.tuples(permissions, permissions, permissions, st.booleans(), st.booleans())
subsets = st.frozensets(st.sampled_from(TENANTS))
principals = st.builds(Principal, workload=st.sampled_from(WORKLOADS)) | st.builds(
    Principal,
    workload=st.sampled_from(WORKLOADS),
    issuer=st.sampled_from(ISSUERS),
    subject=names,
    tenants=subsets,
    groups=st.frozensets(names),
)
contracts = st.builds(Contract, permissions=permissions.map(tuple), any_permissions=permissions.map(tuple))


def document(roles: tuple[Any, ...], bound: list[dict[str, Any]]) -> dict[str, Any]:
    first, second, third, two_in_one, three_in_two = roles
    return {
        "version": 1,
        "roles": {
            "r0": {"permissions": first, "includes": ["r1"] * two_in_one},
            "r1": {"permissions": second, "includes": ["r2"] * three_in_two},
            "r2": {"permissions": third},
        },
        "bindings": bound,
    }


def decide(
    data: dict[str, Any], principal: Principal, contract: Contract, metadata: dict[str, str] | None = None
) -> tuple[Policy, Decision]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.yaml"
        file.write_text(yaml.dump(data, Dumper=yaml.CSafeDumper), encoding="utf-8")
        loaded = load(file)
    engine = Engine.of(loaded, clock=lambda: NOW)
    method = asking(*contract.permissions, any_of=contract.any_permissions)
    return loaded.policy, engine.decide(principal, method, tuple((metadata or {}).items()))


def covered(decision: Decision) -> set[str]:
    return {tenant for tenant in TENANTS if decision.covers(tenant)}


@settings(deadline=None, max_examples=300)
@given(roles=roles, bound=st.lists(bindings, max_size=5), principal=principals, contract=contracts, metadata=metadata)
def test_the_engine_decides_as_the_reference_does(
    roles: tuple[Any, ...],
    bound: list[dict[str, Any]],
    principal: Principal,
    contract: Contract,
    metadata: dict[str, str],
) -> None:
    policy, decision = decide(document(roles, bound), principal, contract, metadata)
    assert (decision.allowed, covered(decision)) == reference(policy, principal, contract, metadata)


@settings(deadline=None, max_examples=150)
@given(roles=roles, bound=st.lists(bindings, max_size=4), more=bindings, principal=principals, contract=contracts)
def test_one_more_binding_never_takes_access_away(
    roles: tuple[Any, ...], bound: list[dict[str, Any]], more: dict[str, Any], principal: Principal, contract: Contract
) -> None:
    _, before = decide(document(roles, bound), principal, contract)
    _, after = decide(document(roles, [*bound, more]), principal, contract)
    assert before.allowed <= after.allowed
    assert covered(before) <= covered(after)


@settings(deadline=None, max_examples=30)
@given(roles=roles, principal=principals, contract=contracts)
def test_without_a_binding_nothing_is_allowed(roles: tuple[Any, ...], principal: Principal, contract: Contract) -> None:
    _, decision = decide(document(roles, []), principal, contract)
    assert not decision.allowed
    assert covered(decision) == set()
