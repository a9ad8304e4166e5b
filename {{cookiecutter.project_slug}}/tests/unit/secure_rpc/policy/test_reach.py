"""Who can is what the engine says of everybody, told from the bindings alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import Engine, workload_pattern
from secure_rpc.policy.entries import entries_of
from secure_rpc.policy.reach import Reach, reaches, time_in_words, wanted_by

from support.policies import asking
from support.policy_ground import policy_of
from support.random_policies import TENANTS, contracts, documents, principals

ISSUER = "https://one.example"
A, B = {"issuer": ISSUER, "group": "a"}, {"issuer": ISSUER, "group": "b"}


def is_of(reach: Reach, principal: Principal) -> bool:
    callers = reach.callers
    return (
        bool(callers.issuer) == bool(principal.subject)
        and callers.issuer in {"", principal.issuer}
        and callers.subject in {"", principal.subject}
        and callers.groups <= principal.groups
        and all(workload_pattern(each).fullmatch(principal.workload) for each in callers.workloads)
    )


def is_for(reach: Reach, principal: Principal, tenant: str) -> bool:
    return reach.scope.can_include(tenant) and (not reach.scope.own or tenant in principal.tenants)


@settings(deadline=None, max_examples=100)
@given(document=documents, principal=principals, contract=contracts, tenant=st.sampled_from(TENANTS))
def test_who_can_says_what_the_engine_decides(
    document: PolicyDocument, principal: Principal, contract: Contract, tenant: str
) -> None:
    decision = Engine.of(document).decide(principal, asking(*contract.permissions, any_of=contract.any_permissions))
    entries, wanted = list(entries_of(document)), wanted_by(contract)
    told = any(is_of(reach, principal) and is_for(reach, principal, tenant) for reach in reaches(entries, wanted))
    assert told is (decision.allowed and decision.covers(tenant))
    without_tenants = reaches(entries, wanted, of_tenants=False)
    assert any(is_of(reach, principal) for reach in without_tenants) is decision.allowed


def described(document: PolicyDocument, *permissions: str) -> set[str]:
    wanted = wanted_by(Contract(permissions=permissions))
    return {f"{reach.callers}, for {reach.scope}" for reach in reaches(entries_of(document), wanted)}


def test_what_two_bindings_give_together_is_told_of_those_who_have_both() -> None:
    document = policy_of(
        {"r": ["x.read"], "w": ["x.write"]},
        {"role": "r", "principals": [A], "tenants": ["acme", "globex"]},
        {"role": "w", "principals": [B], "tenants": "own"},
        {"role": "w", "principals": [{"workload": "spiffe://e.org/x"}], "tenants": "all"},
    )
    both = "group a and group b of https://one.example, for their own tenants among acme, globex"
    assert described(document, "x.read", "x.write") == {both}


def test_a_binding_that_gives_all_by_itself_needs_no_other() -> None:
    document = policy_of(
        {"r": ["x.read"], "all": ["x.read", "x.write"]},
        {"role": "r", "principals": [A], "tenants": "all"},
        {"role": "all", "principals": [B], "tenants": "all"},
    )
    assert described(document, "x.read", "x.write") == {"group b of https://one.example, for all tenants"}


def test_together_bindings_give_only_the_tenants_of_both() -> None:
    def reached(*tenants: list[str]) -> set[str]:
        bindings = [
            {"role": role, "principals": [A], "tenants": each} for role, each in zip("rw", tenants, strict=True)
        ]
        return described(policy_of({"r": ["x.read"], "w": ["x.write"]}, *bindings), "x.read", "x.write")

    assert reached(["acme", "globex"], ["globex", "initech"]) == {"group a of https://one.example, for tenant globex"}
    assert reached(["acme"], ["globex"]) == set()


def test_no_binding_is_named_that_the_others_do_not_need() -> None:
    roles = {"one": ["x.a", "x.b"], "two": ["x.b", "x.c"], "three": ["x.a"]}
    document = policy_of(roles, *({"name": role, "role": role, "principals": [A], "tenants": "all"} for role in roles))
    found = reaches(entries_of(document), wanted_by(Contract(permissions=("x.a", "x.b", "x.c"))))
    assert {tuple(sorted(rule for rule, _ in reach.rules)) for reach in found} == {("one", "two"), ("three", "two")}


def test_bindings_for_two_users_or_two_workloads_give_nothing_together() -> None:
    roles = {"r": ["x.read"], "w": ["x.write"]}
    users = policy_of(
        roles,
        {"role": "r", "principals": [{"issuer": ISSUER, "subject": "alice"}], "tenants": "all"},
        {"role": "w", "principals": [{"issuer": ISSUER, "subject": "bob"}], "tenants": "all"},
    )
    workloads = policy_of(
        roles,
        {"role": "r", "principals": [{"workload": "spiffe://e.org/a"}], "tenants": "all"},
        {"role": "w", "principals": [{"workload": "spiffe://e.org/b"}], "tenants": "all"},
    )
    assert described(users, "x.read", "x.write") == described(workloads, "x.read", "x.write") == set()


def test_conditions_add_up_and_the_first_end_counts() -> None:
    document = policy_of(
        {"r": ["x.read"], "w": ["x.write"]},
        {"role": "r", "principals": [A], "condition": "true", "expires": "2027-01-01"},
        {"role": "w", "principals": [A], "condition": "1 < 2", "expires": "2026-06-01T10:00:00Z"},
    )
    [reach] = reaches(entries_of(document), wanted_by(Contract(permissions=("x.read", "x.write"))))
    assert reach.conditions == {"true", "1 < 2"}
    assert time_in_words(reach.expires_at_seconds) == "2026-06-01T10:00:00Z"
    assert len(reach.rules) == 2
