"""Rules as alternatives."""

from __future__ import annotations

from secure_rpc.policy.export.common import Clause, Rule
from secure_rpc.policy.export.terms import MAX_TERMS, Term, terms_of

ONE, TWO = "https://one.example", "https://two.example"


def terms(*needs: tuple[Clause, ...]) -> list[tuple[str, str, set[str], set[str]]]:
    found = terms_of(Rule("x", ("/x.X/X",), needs)).terms
    return [(term.issuer, term.subject, set(term.groups), set(term.workloads)) for term in found]


def test_what_has_to_fit_at_once_is_joined() -> None:
    a, b = Clause(ONE, group="a"), Clause(ONE, group="b", workload="spiffe://e.org/w")
    assert terms((a,), (b,)) == [(ONE, "", {"a", "b"}, {"spiffe://e.org/w"})]
    assert terms((Clause(ONE, "alice"),), (a,)) == [(ONE, "alice", {"a"}, set())]


def test_what_nobody_can_be_is_left_out() -> None:
    for one, other in [
        (Clause(ONE, "alice"), Clause(ONE, "bob")),
        (Clause(ONE, "alice"), Clause(TWO, "alice")),
        (Clause(ONE, "alice"), Clause(workload="spiffe://e.org/w")),  # with a token, and without one
        (Clause(workload="spiffe://e.org/w"), Clause(workload="spiffe://e.org/v")),
        (Clause(workload="spiffe://e.org/w"), Clause(workload="spiffe://e.org/v-*")),
    ]:
        assert terms((one,), (other,)) == []
        assert terms((other,), (one,)) == []


def test_a_name_says_more_than_a_pattern_that_it_fits() -> None:
    name, pattern = Clause(workload="spiffe://e.org/w"), Clause(workload="spiffe://e.org/*")
    assert terms((name,), (pattern,)) == [("", "", set(), {"spiffe://e.org/w"})]
    both = terms((pattern,), (Clause(workload="spiffe://*".replace("*", "e.org/x*")),))
    assert both == [("", "", set(), {"spiffe://e.org/*", "spiffe://e.org/x*"})]


def test_a_special_case_of_another_alternative_is_left_out() -> None:
    a, b, c = (Clause(ONE, group=name) for name in "abc")
    assert terms((a, b), (b, c)) == [(ONE, "", {"a", "c"}, set()), (ONE, "", {"b"}, set())]


def test_where_there_are_too_many_alternatives_the_longest_need_is_left_out_and_listed() -> None:
    many = tuple(Clause(ONE, group=f"g{number}") for number in range(MAX_TERMS))
    made = terms_of(Rule("a.do and b.do", ("/x.X/X",), (many, (Clause(TWO, "x"), Clause(ONE, "alice")))))
    assert [term.subject for term in made.terms] == ["alice", "x"]
    assert isinstance(made.terms[0], Term)
    (item,) = made.inexpressible
    assert (item.place, "a.do and b.do" in item.what) == ("/x.X/X", True)
