"""Quotas that roles carry: the most generous of those that a principal holds counts, in place of the settings'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secure_rpc.call import Principal
from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import Known, PolicyDocument
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.shadow import Rollout, Shadow
from secure_rpc.quota import Quota, most_generous

from support.policies import asking

MakePolicy = Callable[[dict[str, Any]], PolicyDocument]
ISSUER = "https://issuer.example.org"
READ, WRITE = asking("things.read"), asking("things.write")
BOTH = asking("things.read", "things.write")
ROLES: dict[str, Any] = {
    "reader": {"permissions": ["things.read"]},
    "small": {"permissions": ["things.read"], "quotas": {"default": {"calls": 5}, "bulk": {"calls": 9}}},
    "large": {"permissions": ["things.write"], "quotas": {"default": {"calls": 50}}},
    "largest": {"includes": ["small"], "quotas": {"default": {"calls": 500}}},
}


def user(*groups: str, subject: str = "alice") -> Principal:
    return Principal("spiffe://example.org/a", ISSUER, subject, groups=frozenset(groups))


def binding(role: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"role": role, "principals": [{"issuer": ISSUER, "group": group or role}], **more}


def calls(engine: Engine, who: Principal, method: Any = READ, **asked: Any) -> dict[str, int]:
    decision = engine.decide(who, method, **asked)
    assert decision.allowed
    return {name: quota.calls for name, quota in decision.quotas.items()}


@pytest.fixture
def engine(policy: MakePolicy) -> Engine:
    return Engine.of(policy({"roles": ROLES, "bindings": [binding(role) for role in ROLES]}))


def test_without_a_quota_in_its_roles_a_principal_has_those_of_the_settings(engine: Engine) -> None:
    assert calls(engine, user("reader")) == {}


def test_a_role_may_give_less_than_the_settings_or_more(engine: Engine) -> None:
    assert calls(engine, user("small")) == {"default": 5, "bulk": 9}
    assert calls(engine, user("reader", "small")) == {"default": 5, "bulk": 9}


def test_of_several_roles_the_most_generous_counts_class_by_class(engine: Engine) -> None:
    assert calls(engine, user("small", "large")) == {"default": 50, "bulk": 9}
    assert calls(engine, user("small", "large"), BOTH) == {"default": 50, "bulk": 9}
    assert calls(engine, user("largest")) == {"default": 500, "bulk": 9}


def test_a_binding_that_does_not_match_gives_no_quota(engine: Engine) -> None:
    assert calls(engine, user("small", "others")) == {"default": 5, "bulk": 9}


@pytest.mark.parametrize(
    ("quotas", "best"),
    [
        ([Quota(calls=10), Quota(calls=100, period_seconds=20)], 0),
        ([Quota(calls=10), Quota(calls=10, burst=11)], 1),
        ([Quota(calls=10, burst=100), Quota(calls=11)], 1),
    ],
)
def test_more_calls_over_time_are_more_generous_then_the_larger_burst(quotas: list[Quota], best: int) -> None:
    assert most_generous(quotas) is quotas[best]
    assert most_generous(reversed(quotas)) is quotas[best]


def test_a_binding_with_a_condition_gives_its_quota_while_that_holds(policy: MakePolicy) -> None:
    document = policy(
        {
            "roles": ROLES,
            "bindings": [
                binding("small", "all"),
                binding("large", "all", condition="principal.subject == 'alice'"),
                binding("largest", "all", condition="principal.subject == 'carol'"),
            ],
        }
    )
    conditions = Conditions([READ, WRITE])
    engine = Engine.of(document, conditions)
    for _, expression, _ in document.conditions():
        assert not conditions.check(expression, frozenset({"things.read", "things.write"}))
    assert calls(engine, user("all")) == {"default": 5, "bulk": 9}  # what large gives is not for this method
    assert calls(engine, user("all"), WRITE) == {"default": 50, "bulk": 9}
    assert calls(engine, user("all", subject="carol")) == {"default": 500, "bulk": 9}


@pytest.mark.parametrize(("percent", "expected"), [(0, 5), (100, 500)])
def test_beside_a_candidate_the_quota_is_that_of_the_policy_that_decides(
    policy: MakePolicy, percent: float, expected: int
) -> None:
    active, candidate = (
        Engine.of(policy({"roles": ROLES, "bindings": [binding(role, "all", tenants=tenants)]}))
        for role, tenants in (("small", "own"), ("largest", "all"))
    )
    shadow = Shadow(
        active,
        candidate,
        Rollout(candidate="next.yaml", percent=percent),
        on_difference=lambda _difference: None,
        on_rollback=lambda _reason: None,
    )
    assert shadow.decide(user("all"), READ).quotas["default"].calls == expected


def test_a_class_that_the_settings_do_not_have_is_told_with_its_line(policy: MakePolicy) -> None:
    document = policy({"roles": {"reader": {"quotas": {"bluk": {"calls": 1}}}}})
    with pytest.raises(ConfigurationError) as caught:
        document.check(Known((), (), (), quota_classes=["default", "bulk"]))
    [problem] = caught.value.problems
    assert problem.endswith('the settings have no quota class "bluk"; did you mean "bulk"?')
    assert problem.startswith(document.source.place(("roles", "reader", "quotas", "bluk")) + ":")


@pytest.mark.parametrize(
    "wrong", [{"default": {"calls": 0}}, {"default": {}}, {"default": {"cals": 1}}, {"default": 5}]
)
def test_a_quota_that_makes_no_sense_is_refused(policy: MakePolicy, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"quotas\.default"):
        policy({"roles": {"reader": {"quotas": wrong}}})
