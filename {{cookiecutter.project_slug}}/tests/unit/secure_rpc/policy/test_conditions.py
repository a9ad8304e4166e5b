"""Conditions: types are checked when they are compiled, and what is not plainly true denies."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pool

from secure_rpc.call import Contract, Method, Patience, Principal
from secure_rpc.policy.conditions import Asked, Conditions
from secure_rpc.policy.expressions import metadata_map

from probe.v1 import probe_pb2 as pb

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
GIVEN = frozenset({"probe.call"})
ALICE = Principal(
    workload="spiffe://example.org/gateway",
    issuer="https://issuer.example.org",
    subject="alice",
    tenants=frozenset({"acme"}),
    groups=frozenset({"staff", "admins"}),
    roles=frozenset({"auditor"}),
    proofs=("certificate", "token"),
    expires_at_seconds=NOW + 60,
    claims={"level": 3, "address": {"country": "DE"}, "amr": ["pwd", "otp"], "nothing": None},
)
METHOD = Method(
    "/probe.v1.ProbeService/Unary",
    Patience(1),
    request_streaming=False,
    response_streaming=False,
    descriptor=descriptor_pool.Default().FindMethodByName("probe.v1.ProbeService.Unary"),
    contract=Contract(permissions=("probe.call",)),
)
PROTOLESS = Method("/other.v1.Other/Get", Patience(1), contract=Contract(permissions=("probe.call",)))


def asked(request: Any = None, metadata: tuple[tuple[str, str | bytes], ...] = (), who: Principal = ALICE) -> Asked:
    return Asked(who, METHOD, metadata, request, NOW)


@pytest.fixture
def conditions() -> Conditions:
    return Conditions([METHOD])


@pytest.mark.parametrize(
    "expression",
    [
        "principal.subject == 'alice'",
        "principal.issuer.startsWith('https://')",
        "principal.workload.endsWith('/gateway')",
        "'staff' in principal.groups && 'auditor' in principal.roles",
        "principal.tenants == ['acme']",
        "'token' in principal.proofs",
        "principal.claims.level >= 3",
        "principal.claims.address.country == 'DE'",
        "'otp' in principal.claims.amr",
        "principal.claims.nothing == null",
        "!has(principal.claims.vip)",
        "principal.expires_at - now == duration('60s')",
        "now.getFullYear('Europe/Berlin') == 2026 && now.getHours() == 0",
        "now < timestamp('2026-06-01T00:00:00Z')",
        "method.name == 'Unary' && method.kind == 'unary'",
        "method.path == '/' + method.service + '/' + method.name",
        "request.act == 'data' && request.count < 10",
        "request.act.matches('^[a-z]+$')",
        "metadata['x-region'] == 'eu'",
        "!('authorization' in metadata) && !('x-api-key' in metadata)",
        "metadata['twice'] == 'a,b'",
        "'x-bin' in metadata == false",
    ],
)
def test_what_is_true_holds(conditions: Conditions, expression: str) -> None:
    assert conditions.check(expression, GIVEN) == []
    metadata: tuple[tuple[str, str | bytes], ...] = (
        ("authorization", "Bearer secret"),
        ("x-api-key", "secret"),
        ("x-region", "eu"),
        ("twice", "a"),
        ("twice", "b"),
        ("x-bin", b"\0"),
    )
    assert conditions.holds(expression, asked(pb.Ask(act="data", count=3), metadata)).holds
    assert not conditions.holds(f"!({expression})", asked(pb.Ask(act="data", count=3), metadata)).holds


BIG = "[" + ", ".join(["1"] * 60) + "]"
BUDGET = f"{BIG}.all(a, {BIG}.all(b, {BIG}.all(c, a + b + c > 0)))"


@pytest.mark.parametrize(
    ("expression", "failure"),
    [
        ("principal.claims.vip == true", "vip"),
        ("metadata['none'] == ''", "none"),
        ("principal.claims.level > 'x'", "no matching overload"),
        ("1 / request.count > 0", "divide by zero"),
        ("1 % request.count > 0", "modul"),
        ("request.act.matches('(')", "regular expression"),
        ("request.act.matches(request.act + '(')", "regular expression"),
        ("principal.groups[7] == ''", "index"),
        ("timestamp(request.act) < now", "imestamp"),
        ("int(request.act) > 0", "int"),
        ("9223372036854775807 + request.count + 1 > 0", "overflow"),
        ("principal.subject == 'bob' || principal.claims.level", "overload"),
        (BUDGET, "budget"),
    ],
)
def test_what_cannot_be_told_denies_and_is_told(expression: str, failure: str) -> None:
    failures: list[tuple[str, str]] = []
    conditions = Conditions([METHOD], on_failure=lambda *told: failures.append(told))
    assert conditions.check(expression, GIVEN) == []
    verdict = conditions.holds(expression, asked(pb.Ask(act="data")))
    assert not verdict.holds
    assert failure.lower() in verdict.failure.lower()
    assert failures == [(expression, verdict.failure)]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("principal.subjct == 'a'", 'did you mean "subject"?'),
        ("request.acts == 'a'", 'did you mean "act"?'),
        ("principl.subject == 'a'", 'did you mean "principal"?'),
        ("method.pth == ''", 'did you mean "path"?'),
        ("request.count", "the condition is of type int; it must be true or false"),
        ("principal.claims.level", 'of type dyn; it must be true or false: compare it, as in "... == true"'),
        ("'true'", "the condition is of type string"),
        ("principal", "must be true or false"),
        ("request.count == 'three'", "no matching overload"),
        ("contains(principal.subject, 'a')", "contains"),
        ("principal.subject ==", "Syntax error"),
        ("", "Syntax error"),
        ("true; false", "Syntax error"),
        ("__import__('os')", "undeclared reference"),
        ("x" * 2001, "at most 2000 characters"),
    ],
)
def test_what_is_wrong_is_told_before_any_call(conditions: Conditions, expression: str, problem: str) -> None:
    [told] = conditions.check(expression, GIVEN)
    assert problem in told
    assert not conditions.holds(expression, asked(pb.Ask())).holds


def test_a_problem_names_the_method_that_the_condition_does_not_fit() -> None:
    conditions = Conditions([METHOD, PROTOLESS])
    [told] = conditions.check("request.act == ''", GIVEN)
    assert told.endswith("for /other.v1.Other/Get")
    assert conditions.check("request.act == ''", frozenset({"probe.other"})) != []  # no method: checked all the same
    assert conditions.check("principal.subject == ''", frozenset({"probe.other"})) == []


@pytest.mark.parametrize(
    ("expression", "uses"),
    [
        ("request.act == ''", True),
        ("principal.subject == 'request'", False),
        ("'request' in metadata", False),
        ("true || request.count > 0", True),
        ("has(request.act)", True),
    ],
)
def test_the_request_is_waited_for_only_where_it_is_used(
    conditions: Conditions, expression: str, *, uses: bool
) -> None:
    assert conditions.uses_request(expression, METHOD) is uses


@pytest.mark.parametrize(
    "claims",
    [
        {"deep": [[{"a": {"b": [1, "x", None, True]}}]]},
        {"big": 10**30},
        {"\ud800": 1},
        {"object": object()},
        {1: 2},
    ],
)
def test_whatever_claims_hold_a_condition_is_true_or_denies(conditions: Conditions, claims: dict[Any, Any]) -> None:
    who = Principal(subject="alice", claims=claims)
    verdict = conditions.holds("principal.subject == 'alice'", asked(who=who))
    assert verdict.holds is (not verdict.failure)
    assert not conditions.holds("principal.subject == 'bob'", asked(who=who)).holds


def test_two_tokens_of_one_user_are_told_apart(conditions: Conditions) -> None:
    """They are equal as principals, and may differ in their claims."""
    one, other = (Principal(subject="alice", claims={"level": level}) for level in (1, 2))
    assert one == other
    assert conditions.holds("principal.claims.level == 1", asked(who=one)).holds
    assert not conditions.holds("principal.claims.level == 1", asked(who=other)).holds


def test_what_no_policy_has_any_more_is_let_go_of(conditions: Conditions) -> None:
    for expression in ("true", "false"):
        conditions.holds(expression, asked())
    conditions.forget_but({"true"})
    assert [key[0] for key in conditions._programs] == ["true"]


def test_metadata_shows_no_credentials() -> None:
    shown = metadata_map((("cookie", "a"), ("authorization", "b"), ("x-api-key", "c"), ("user-agent", "d")))
    assert shown == {"user-agent": "d"}
