"""What is asked and given, method by method, and what no mesh can say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secure_rpc.call import Contract
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.export.common import Access, Clause, Inexpressible, TokenIssuer, access_of, resource_name

from .conftest import ISSUER, Exporting

ALICE = {"issuer": ISSUER.issuer, "subject": "alice"}
READ = Contract(permissions=("things.read",))


def lost(access: Access) -> str:
    return "\n".join(map(str, access.inexpressible))


def test_methods_that_ask_for_the_same_share_a_rule(access: Exporting) -> None:
    contracts = {"/b.B/B": READ, "/a.A/A": READ, "/c.C/C": Contract(public=True)}
    rules = access(ALICE, contracts=contracts).rules
    assert [(rule.asked, rule.paths, rule.public) for rule in rules] == [
        ("things.read", ("/a.A/A", "/b.B/B"), False),
        ("public", ("/c.C/C",), True),
    ]
    assert rules[0].needs == ((Clause(ISSUER.issuer, "alice"),),)


def test_methods_open_to_any_caller_have_a_rule_that_is_listed_as_wider(access: Exporting) -> None:
    made = access(contracts={"/s.S/Refresh": Contract(any_caller=True), "/c.C/C": Contract(public=True)})
    assert [(rule.asked, rule.paths, rule.public) for rule in made.rules] == [
        ("public", ("/c.C/C",), True),
        ("any caller", ("/s.S/Refresh",), False),
    ]
    assert made.closed == ()
    assert "/s.S/Refresh: any caller whose identity is verified" in lost(made)
    assert "/c.C/C" not in lost(made)


def test_of_several_permissions_each_is_needed_but_none_that_another_one_implies(
    policy: Callable[[dict[str, Any]], PolicyDocument],
) -> None:
    alice, bob, carol = ({"issuer": ISSUER.issuer, "subject": name} for name in ("alice", "bob", "carol"))
    roles = {name: {"permissions": [f"{name}.do"]} for name in ("a", "b", "c")}
    bound = [("a", [alice, bob]), ("b", [alice, bob, carol]), ("c", [bob, carol])]
    document = policy({"roles": roles, "bindings": [{"role": role, "principals": who} for role, who in bound]})
    contracts = {
        "/x.X/All": Contract(permissions=("a.do", "b.do", "c.do")),
        "/x.X/Any": Contract(any_permissions=("a.do", "c.do")),
        "/x.X/Both": Contract(permissions=("a.do",), any_permissions=("c.do", "b.do")),
    }
    made = access_of(document, contracts, [ISSUER], now_seconds=0)
    needs = {
        rule.paths[0]: ({rule.asked}, [{clause.subject for clause in need} for need in rule.needs])
        for rule in made.rules
    }
    assert needs == {
        "/x.X/All": ({"a.do and b.do and c.do"}, [{"alice", "bob"}, {"bob", "carol"}]),
        "/x.X/Any": ({"one of a.do, c.do"}, [{"alice", "bob", "carol"}]),
        "/x.X/Both": ({"a.do and one of b.do, c.do"}, [{"alice", "bob"}]),
    }


@pytest.mark.parametrize(
    "contract",
    [
        Contract(permissions=("things.read", "things.none")),
        Contract(any_permissions=("things.none",)),
        Contract(),
    ],
)
def test_a_method_whose_permission_nobody_has_is_closed(access: Exporting, contract: Contract) -> None:
    made = access(ALICE, contracts={"/x.X/X": contract})
    assert (made.rules, made.closed) == ((), ("/x.X/X",))


def test_what_has_ended_is_left_out_and_what_will_end_is_listed(access: Exporting) -> None:
    assert access(ALICE, expires="2020-01-01").closed == ("/things.v1.Things/Get",)
    made = access(ALICE, expires="2999-01-01")
    assert made.rules
    assert "bindings[0] reader ends at 2999-01-01 00:00:00 UTC" in lost(made)


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({"condition": 'principal.workload == ""'}, 'the condition of bindings[0] reader, principal.workload == ""'),
        ({"tenants": "own", "name": "mine"}, "mine is for own tenants only"),
        ({"tenants": ["b", "a"]}, "bindings[0] reader is for tenants a, b only"),
    ],
)
def test_what_a_binding_says_beyond_its_principals_is_listed_with_its_place(
    access: Exporting, binding: dict[str, Any], words: str
) -> None:
    made = access(ALICE, **binding)
    (item,) = [item for item in made.inexpressible if words in item.what]
    assert item.place.endswith(f"{made.places[Clause(ISSUER.issuer, 'alice')]}")
    assert "the service still refuses" in item.exported


def test_what_a_binding_says_of_no_method_is_not_listed(access: Exporting) -> None:
    made = access(ALICE, tenants="own", contracts={"/x.X/X": Contract(public=True)})
    assert "own tenants" not in lost(made)


def test_replay_quotas_and_further_checks_of_tokens_are_listed(access: Exporting) -> None:
    contracts = {"/x.X/X": Contract(permissions=("things.read",), replay_protected=True)}
    issuer = TokenIssuer("https://strict.example", ("things",), further_checks=("typ at+jwt",))
    said = lost(access(ALICE, contracts=contracts, issuers=[issuer]))
    assert "/x.X/X: each call may be made once" in said
    assert "quotas" in said
    assert "further checks of tokens of https://strict.example (typ at+jwt)" in said


def test_an_item_is_one_line_whatever_stands_in_the_policy() -> None:
    item = Inexpressible("policy.yaml:1", "a\nkind: Secret\r\n\x1b[2J\u2028b", "c", "d")
    assert str(item) == "policy.yaml:1: a kind: Secret [2J b: c; d"


@pytest.mark.parametrize(
    ("text", "name"),
    [("Größe_x", "gr-e-x"), ("a.read and b", "a.read-and-b"), ("--", "service"), ("a" * 300, "a" * 200)],
)
def test_a_name_in_kubernetes_has_the_signs_that_it_may_have(text: str, name: str) -> None:
    assert resource_name(text) == name
