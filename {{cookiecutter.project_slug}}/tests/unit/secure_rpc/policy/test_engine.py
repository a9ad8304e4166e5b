"""Who is given what, case by case: denied unless a binding says otherwise."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from secure_rpc.call import Contract, Method, Patience, Principal
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import Engine, Grants
from secure_rpc.policy.remembered import AT_ONCE

from support.clocks import Clock
from support.policies import asking

MakePolicy = Callable[[dict[str, Any]], PolicyDocument]
ISSUER, OTHER_ISSUER = "https://issuer.example.org", "https://partner.example"
GATEWAY = "spiffe://example.org/ns/edge/sa/gateway"
ROLES = {
    "reader": {"permissions": ["things.read"]},
    "writer": {"permissions": ["things.write"]},
    "editor": {"includes": ["reader", "writer"]},
}
READ, WRITE = asking("things.read"), asking("things.write")
BOTH = asking("things.read", "things.write")
PUBLIC = Method("/things.v1.Things/List", Patience(1), contract=Contract(public=True))
EITHER = asking(any_of=("things.read", "things.write"))


def user(subject: str = "alice", *groups: str, issuer: str = ISSUER, tenants: tuple[str, ...] = ("acme",)) -> Principal:
    return Principal(GATEWAY, issuer, subject, frozenset(tenants), frozenset(groups))


def workload(name: str = GATEWAY) -> Principal:
    return Principal(name)


def binding(role: str, *who: dict[str, str], tenants: Any = "own") -> dict[str, Any]:
    return {"role": role, "principals": list(who), "tenants": tenants}


@pytest.fixture
def engine(policy: MakePolicy) -> Callable[..., Engine]:
    return lambda *bindings: Engine.of(policy({"roles": ROLES, "bindings": list(bindings)}))


MakeEngine = Callable[..., Engine]


# --- by default --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [user(), user("alice", "admins"), workload(), Principal()])
@pytest.mark.parametrize("method", [READ, BOTH, EITHER, asking(), PUBLIC])
def test_without_a_binding_nobody_may_do_anything(engine: MakeEngine, who: Principal, method: Method) -> None:
    decision = engine().decide(who, method)
    assert not decision.allowed
    assert not decision.covers("acme")
    assert decision.rule


def test_a_method_that_asks_for_nothing_is_refused_even_to_those_who_have_everything(engine: MakeEngine) -> None:
    decision = engine(binding("editor", {"issuer": ISSUER, "subject": "alice"}, tenants="all")).decide(user(), asking())
    assert (decision.allowed, decision.rule) == (False, "the method asks for no permission")
    assert not decision.covers("acme")


def test_a_method_for_any_caller_is_allowed_without_a_binding_and_touches_nobodys_data(engine: MakeEngine) -> None:
    open_to_all = Method("/things.v1.Things/Who", Patience(1), contract=Contract(any_caller=True))
    for who in (user(), workload()):
        decision = engine().decide(who, open_to_all)
        assert decision.allowed
        assert not decision.covers("acme")


def test_the_rule_says_what_is_missing_or_which_binding_gave_it(engine: MakeEngine) -> None:
    made = engine(
        binding("reader", {"issuer": ISSUER, "group": "a"}), binding("reader", {"issuer": ISSUER, "group": "b"})
    )
    assert made.decide(user(), READ).rule == "no binding gives things.read"
    assert made.decide(user(), EITHER).rule == "no binding gives one of things.read, things.write"
    assert made.decide(user("alice", "b"), READ).rule == "bindings[1] reader"
    assert made.decide(user("alice", "b"), BOTH).rule == "no binding gives things.write"


# --- who -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "principal", "allowed"),
    [
        ({"issuer": ISSUER, "subject": "alice"}, user("alice"), True),
        ({"issuer": ISSUER, "subject": "alice"}, user("bob"), False),
        ({"issuer": ISSUER, "subject": "alice"}, user("Alice"), False),
        ({"issuer": ISSUER, "subject": "alice"}, user("alice", issuer=OTHER_ISSUER), False),
        ({"issuer": ISSUER, "subject": "alice"}, user("bob", "alice"), False),
        ({"issuer": ISSUER, "group": "admins"}, user("bob", "users", "admins"), True),
        ({"issuer": ISSUER, "group": "admins"}, user("bob", "users"), False),
        ({"issuer": ISSUER, "group": "admins"}, user("admins"), False),
        ({"issuer": ISSUER, "group": "admins"}, user("bob", "admins", issuer=OTHER_ISSUER), False),
        ({"issuer": ISSUER, "subject": "alice", "group": "admins"}, user("alice", "admins"), True),
        ({"issuer": ISSUER, "subject": "alice", "group": "admins"}, user("alice"), False),
        ({"issuer": ISSUER, "subject": "alice", "group": "admins"}, user("bob", "admins"), False),
        ({"issuer": ISSUER, "subject": "alice", "workload": GATEWAY}, user("alice"), True),
        ({"issuer": ISSUER, "subject": "alice", "workload": GATEWAY + "2"}, user("alice"), False),
        (
            {"issuer": ISSUER, "group": "admins", "workload": "spiffe://example.org/ns/*/sa/*"},
            user("a", "admins"),
            True,
        ),
        ({"issuer": ISSUER, "group": "admins", "workload": "spiffe://example.org/ns/*"}, user("a", "admins"), False),
        ({"issuer": ISSUER, "subject": "alice"}, workload(), False),
        ({"workload": GATEWAY}, workload(), True),
        ({"workload": GATEWAY}, workload(GATEWAY + "2"), False),
        ({"workload": GATEWAY}, workload(""), False),
    ],
)
def test_all_that_a_binding_names_must_be_so(
    engine: MakeEngine, who: dict[str, str], principal: Principal, *, allowed: bool
) -> None:
    assert engine(binding("reader", who)).decide(principal, READ).allowed is allowed


@pytest.mark.parametrize("name", [GATEWAY, "spiffe://example.org/ns/*/sa/gateway"])
def test_what_a_workload_may_do_alone_is_not_lent_to_the_users_whose_calls_it_passes_on(
    engine: MakeEngine, name: str
) -> None:
    made = engine(binding("reader", {"workload": name}, tenants="all"))
    assert made.decide(workload(), READ).allowed
    assert not made.decide(user(), READ).allowed


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("spiffe://example.org/ns/*/sa/orders", "spiffe://example.org/ns/shop/sa/orders", True),
        ("spiffe://example.org/ns/*/sa/orders", "spiffe://example.org/ns/a/b/sa/orders", False),
        ("spiffe://example.org/ns/*/sa/orders", "spiffe://example.org/ns/shop/sa/orders/x", False),
        ("spiffe://example.org/ns/*/sa/orders", "spiffe://example.org/ns//sa/orders", False),
        ("spiffe://example.org/ns/shop-*", "spiffe://example.org/ns/shop-eu", True),
        ("spiffe://example.org/ns/shop-*", "spiffe://example.org/ns/shop-", False),
        ("spiffe://example.org/ns/*", "spiffe://example.org/ns/a/b", False),
        ("spiffe://example.org/*", "spiffe://evil.example/a", False),
        ("spiffe://example.org/*", "spiffe://example-org/a", False),
        ("spiffe://example.org/a.b/*", "spiffe://example.org/aXb/c", False),  # a dot is a dot
    ],
)
def test_a_star_stands_for_the_characters_of_one_segment(
    engine: MakeEngine, pattern: str, name: str, *, allowed: bool
) -> None:
    assert engine(binding("reader", {"workload": pattern})).decide(workload(name), READ).allowed is allowed


# --- whose data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenants", "covered"),
    [("own", {"acme", "globex"}), ("all", {"acme", "globex", "initech"}), (["initech"], {"initech"})],
)
def test_a_binding_extends_to_the_tenants_that_it_says(engine: MakeEngine, tenants: Any, covered: set[str]) -> None:
    made = engine(binding("reader", {"issuer": ISSUER, "subject": "alice"}, tenants=tenants))
    decision = made.decide(user(tenants=("acme", "globex")), READ)
    assert decision.allowed
    assert {name for name in ("acme", "globex", "initech") if decision.covers(name)} == covered


def test_who_has_no_tenant_of_its_own_may_touch_nobodys(engine: MakeEngine) -> None:
    decision = engine(binding("reader", {"workload": GATEWAY})).decide(workload(), READ)
    assert (decision.allowed, decision.tenants) == (True, frozenset())
    assert not decision.covers("")


ALICE, ADMINS = {"issuer": ISSUER, "subject": "alice"}, {"issuer": ISSUER, "group": "admins"}


@pytest.mark.parametrize(
    ("first", "second", "method", "tenants"),
    [
        (("reader", ["a"]), ("reader", ["b"]), READ, {"a", "b"}),  # the same permission twice: either
        (("reader", ["a"]), ("reader", "all"), READ, None),
        (("reader", "own"), ("reader", ["b"]), READ, {"acme", "b"}),
        (("reader", ["a", "b"]), ("writer", ["b", "c"]), BOTH, {"b"}),  # two permissions: both
        (("reader", ["a"]), ("writer", ["b"]), BOTH, set()),
        (("reader", ["a"]), ("writer", "all"), BOTH, {"a"}),
        (("reader", "all"), ("writer", ["b"]), BOTH, {"b"}),
        (("reader", "all"), ("writer", "all"), BOTH, None),
        (("reader", ["a"]), ("writer", ["b"]), EITHER, {"a", "b"}),  # one of two: either
        (("reader", ["a"]), ("writer", "all"), EITHER, None),
    ],
)
def test_tenants_of_several_bindings_are_joined_or_crossed(
    engine: MakeEngine, first: tuple[str, Any], second: tuple[str, Any], method: Method, tenants: set[str] | None
) -> None:
    made = engine(binding(first[0], ALICE, tenants=first[1]), binding(second[0], ADMINS, tenants=second[1]))
    decision = made.decide(user("alice", "admins"), method)
    assert decision.allowed
    assert decision.tenants == tenants


def test_all_and_any_are_asked_together(engine: MakeEngine) -> None:
    method = asking("things.read", any_of=("things.write", "things.purge"))
    reader = binding("reader", ALICE, tenants=["a", "b"])
    assert not engine(reader).decide(user(), method).allowed
    decision = engine(reader, binding("writer", ALICE, tenants=["b", "c"])).decide(user(), method)
    assert (decision.allowed, decision.tenants) == (True, frozenset({"b"}))


def test_an_engine_that_is_replaced_is_gone_at_once(engine: MakeEngine) -> None:
    """The collector may not look at the engine of the start, and takes long where it does."""
    made = engine(binding("reader", ALICE))
    assert made.decide(user(), READ).allowed
    seen = weakref.ref(made)
    gc.disable()
    try:
        del made
        assert seen() is None
    finally:
        gc.enable()


async def test_what_a_replaced_policy_remembers_goes_in_slices_and_the_rest_stays(engine: MakeEngine) -> None:
    """Ten thousand at once would make all calls wait for tens of milliseconds."""

    def remembered() -> int:
        return sum(type(each) is Grants for each in gc.get_objects())

    before = remembered()
    active = ActivePolicy(engine(binding("reader", ALICE)))
    for number in range(3 * AT_ONCE):
        active.decide(user(f"user-{number}"), READ)
    assert remembered() == before + 3 * AT_ONCE
    active.swap(active.engine)  # the same again
    await asyncio.sleep(0)
    assert remembered() == before + 3 * AT_ONCE
    active.swap(engine(binding("reader", ALICE)))
    left = [remembered() - before]
    while left[-1] and len(left) < 10:
        await asyncio.sleep(0)
        left.append(remembered() - before)
    assert left == [2 * AT_ONCE, AT_ONCE, 0]


def test_what_a_binding_gave_is_forgotten_when_it_ends(policy: MakePolicy) -> None:
    clock = Clock(datetime(2030, 1, 1, tzinfo=UTC).timestamp() - 1)
    ending = {**binding("reader", ALICE), "expires": "2030-01-01"}
    made = Engine.of(policy({"roles": ROLES, "bindings": [ending, binding("writer", ALICE)]}), clock=clock)
    assert made.decide(user(), READ).allowed
    clock.pass_(1)
    assert not made.decide(user(), READ).allowed
    assert made.decide(user(), WRITE).allowed


def test_roles_give_what_they_include(engine: MakeEngine) -> None:
    assert engine(binding("editor", ALICE)).decide(user(), BOTH).allowed


def test_principals_that_differ_in_their_token_alone_are_told_apart(engine: MakeEngine) -> None:
    """The grants are remembered by the principal: all that they depend on must be in its key."""
    made = engine(binding("reader", ADMINS, tenants="own"))
    assert made.decide(user("alice", "admins"), READ).covers("acme")
    assert not made.decide(user("alice"), READ).allowed
    assert not made.decide(user("alice", "admins", tenants=("globex",)), READ).covers("acme")
    assert not made.decide(user("alice", "admins", issuer=OTHER_ISSUER), READ).allowed
