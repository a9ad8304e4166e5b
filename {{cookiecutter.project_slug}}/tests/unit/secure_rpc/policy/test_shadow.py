"""A candidate beside the active policy: what is compared, who is judged by it, and when it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_rpc.call import Principal
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.shadow import Difference, Direction, Rollout, Shadow, share_of

from support.clocks import Clock
from support.policies import asking

MakePolicy = Callable[[dict[str, Any]], PolicyDocument]
ISSUER = "https://issuer.example.org"
ROLES = {"reader": {"permissions": ["things.read"]}}
READ = asking("things.read")
ALICE = Principal(issuer=ISSUER, subject="alice", tenants=frozenset({"acme"}), groups=frozenset({"staff"}))


def giving(group: str, tenants: Any = "own") -> dict[str, Any]:
    binding = {"role": "reader", "principals": [{"issuer": ISSUER, "group": group}], "tenants": tenants}
    return {"roles": ROLES, "bindings": [binding]}


class Told:
    """What a shadow said."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.rollbacks: list[str] = []


@pytest.fixture
def compare(policy: MakePolicy) -> Callable[..., tuple[Shadow, Told]]:
    def make(active: dict[str, Any], candidate: dict[str, Any], **rollout: Any) -> tuple[Shadow, Told]:
        told = Told()
        shadow = Shadow(
            Engine.of(policy(active)),
            Engine.of(policy(candidate)),
            Rollout(candidate="candidate.yaml", **rollout),
            on_difference=told.differences.append,
            on_rollback=told.rollbacks.append,
            clock=Clock(),
        )
        return shadow, told

    return make


Compare = Callable[..., tuple[Shadow, Told]]


def test_the_active_policy_decides_and_what_the_candidate_would_do_is_told(compare: Compare) -> None:
    for active, candidate, direction in [
        ("staff", "others", Direction.WOULD_DENY),
        ("others", "staff", Direction.WOULD_ALLOW),
    ]:
        shadow, told = compare(giving(active), giving(candidate))
        decision = shadow.decide(ALICE, READ)
        assert (decision.allowed, decision.policy) == (active == "staff", shadow.active.version)
        [difference] = told.differences
        assert (difference.direction, difference.method, difference.principal) == (direction, READ.path, ALICE)


def test_policies_that_agree_tell_nothing(compare: Compare) -> None:
    shadow, told = compare(giving("staff"), giving("staff", "own"), percent=100)
    assert shadow.decide(ALICE, READ).covers("acme")
    assert not shadow.decide(ALICE, READ).covers("globex")
    assert told.differences == []


@pytest.mark.parametrize("percent", [0, 100])
def test_they_are_compared_by_tenant_too(compare: Compare, percent: float) -> None:
    shadow, told = compare(giving("staff"), giving("staff", ["globex"]), percent=percent)
    decision = shadow.decide(ALICE, READ)
    assert told.differences == []
    assert decision.covers("acme") is (percent == 0)
    assert decision.covers("globex") is (percent == 100)
    assert not decision.covers("initech")
    assert [(each.tenant, each.direction) for each in told.differences] == [
        ("acme", Direction.WOULD_DENY),
        ("globex", Direction.WOULD_ALLOW),
    ]


@given(st.text(), st.text(), st.floats(0, 100))
def test_a_principal_is_always_on_the_same_side_and_stays_when_the_share_grows(
    issuer: str, subject: str, percent: float
) -> None:
    one = Principal("spiffe://example.org/a", issuer, subject)
    other = Principal("spiffe://example.org/a", issuer, subject, tenants=frozenset({"acme"}))
    assert share_of(one) == share_of(other)
    assert 0 <= share_of(one) < 100
    assert (share_of(one) < percent) <= (share_of(one) < (percent + 100) / 2)


def test_a_share_of_the_principals_is_about_that_share() -> None:
    shares = [share_of(Principal(issuer=ISSUER, subject=f"user-{number}")) for number in range(10_000)]
    for percent in (1, 10, 50):
        assert sum(share < percent for share in shares) == pytest.approx(percent * 100, rel=0.15)


def call_as_many(shadow: Shadow, calls: int) -> list[bool]:
    return [shadow.decide(ALICE, READ).allowed for _ in range(calls)]


def test_a_candidate_that_refuses_too_much_is_taken_back_before_it_refuses_the_call_that_tells(
    compare: Compare,
) -> None:
    shadow, told = compare(giving("staff"), giving("others"), percent=100, minimum_calls=10, max_refusal_rise=0.5)
    assert call_as_many(shadow, 9) == [False] * 9
    assert call_as_many(shadow, 5) == [True] * 5
    assert told.rollbacks == [
        "of 1 callers that the candidate decided for, it refused 1 what the active policy allows; 50.00% may be"
    ]


def test_refusals_of_tenants_count_as_well(compare: Compare) -> None:
    shadow, told = compare(
        giving("staff"), giving("staff", ["globex"]), percent=100, minimum_calls=3, max_refusal_rise=0.5
    )
    assert [shadow.decide(ALICE, READ).covers("acme") for _ in range(5)] == [False, False, True, True, True]
    assert len(told.rollbacks) == 1


def test_what_both_refuse_and_what_only_the_candidate_allows_takes_nothing_back(compare: Compare) -> None:
    shadow, told = compare(giving("others"), giving("staff"), percent=100, minimum_calls=1, max_refusal_rise=0.01)
    nobody = Principal(issuer=ISSUER, subject="nobody")
    assert [shadow.decide(who, READ).allowed for who in (ALICE, nobody) * 20] == [True, False] * 20
    assert told.rollbacks == []


def test_who_loses_access_cannot_take_the_candidate_back_by_calling_on_and_on(compare: Compare) -> None:
    shadow, told = compare(giving("staff"), giving("kept"), percent=100, minimum_calls=10, max_refusal_rise=0.1)
    for number in range(20):
        groups = frozenset({"staff", "kept"})
        assert shadow.decide(Principal(issuer=ISSUER, subject=f"user-{number}", groups=groups), READ).allowed
    assert call_as_many(shadow, 1000) == [False] * 1000
    assert told.rollbacks == []


def test_refusals_of_long_ago_do_not_count(compare: Compare) -> None:
    shadow, told = compare(
        giving("staff"), giving("others"), percent=100, minimum_calls=4, max_refusal_rise=0.5, window_seconds=60
    )
    clock: Any = shadow._window._clock
    for _ in range(5):
        call_as_many(shadow, 2)
        clock.pass_(61)
    assert told.rollbacks == []
    call_as_many(shadow, 4)
    assert len(told.rollbacks) == 1


def test_a_candidate_that_was_taken_back_stays_so_until_it_is_another(policy: MakePolicy) -> None:
    active = ActivePolicy(Engine.of(policy(giving("staff"))))
    rollout = Rollout(candidate="candidate.yaml", percent=100, minimum_calls=1)
    bad, also_bad = policy(giving("others")), policy(giving("strangers"))
    active.swap(active.engine, Engine.of(bad), rollout)
    assert active.decide(ALICE, READ).allowed  # taken back by the first call
    active.swap(active.engine, Engine.of(bad), rollout)
    assert active.shadow is not None
    assert active.shadow.percent == 0
    active.swap(active.engine, Engine.of(also_bad), rollout)
    assert active.shadow.percent == 100
    active.swap(active.engine)
    assert active.shadow is None
    assert active.decide(ALICE, READ).allowed
