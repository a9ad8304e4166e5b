"""Rules as alternatives, for meshes that have no "and" between lists of principals.

Each alternative names all that a principal must be at once; those that nobody can be, and those that say no more than
another one, are left out.
"""

from __future__ import annotations

from typing import NamedTuple

from secure_rpc.policy.engine import workload_pattern
from secure_rpc.policy.export.common import SERVICE_DECIDES, Clause, Inexpressible, Rule

MAX_TERMS = 1000  # of one rule; meshes refuse documents past a size


class Term(NamedTuple):
    """All that a principal must be; workloads alone speak of calls without a token."""

    issuer: str
    subject: str
    groups: frozenset[str]
    workloads: frozenset[str]  # several only where they are patterns
    clauses: frozenset[Clause]  # that it was made of


class Terms(NamedTuple):
    """The alternatives of a rule, and what they do not say."""

    terms: tuple[Term, ...]
    inexpressible: tuple[Inexpressible, ...] = ()


def terms_of(rule: Rule) -> Terms:
    """Return the alternatives of a rule; where they are too many, needs are left out, largest first."""
    lost: list[Inexpressible] = []
    terms: list[Term] = []
    for number, need in enumerate(sorted(rule.needs, key=len)):
        made = [_term(clause) for clause in need]
        if number == 0:
            terms = made
        elif len(terms) * len(made) <= MAX_TERMS:
            terms = _minimal([joined for one in terms for other in made if (joined := _join(one, other)) is not None])
        else:
            lost.append(
                Inexpressible(
                    rule.paths[0],
                    f"that {rule.asked} is asked for at once",
                    f"it takes more than {MAX_TERMS} alternatives",
                    f"whoever is given the rarer of them passes; {SERVICE_DECIDES} who lacks the others",
                )
            )
    return Terms(tuple(sorted(terms, key=_order)), tuple(lost))


def _term(clause: Clause) -> Term:
    groups, workloads = (frozenset({name} if name else ()) for name in (clause.group, clause.workload))
    return Term(clause.issuer, clause.subject, groups, workloads, frozenset({clause}))


def _join(one: Term, other: Term) -> Term | None:
    """Return what a principal must be to fit both, None where nobody can."""
    if one.issuer != other.issuer or (one.subject and other.subject and one.subject != other.subject):
        return None
    workloads = one.workloads | other.workloads
    exact = [name for name in workloads if "*" not in name]
    if len(exact) > 1:
        return None
    if exact:
        if not all(workload_pattern(name).fullmatch(exact[0]) for name in workloads if "*" in name):
            return None
        workloads = frozenset(exact)
    return Term(
        one.issuer, one.subject or other.subject, one.groups | other.groups, workloads, one.clauses | other.clauses
    )


def _minimal(terms: list[Term]) -> list[Term]:
    """Return the alternatives without those that are special cases of others."""
    distinct = list({term[:4]: term for term in terms}.values())
    return [term for term in distinct if not any(_covers(other, term) for other in distinct if other is not term)]


def _covers(wide: Term, narrow: Term) -> bool:
    return (
        wide.issuer == narrow.issuer
        and wide.subject in {"", narrow.subject}
        and wide.groups <= narrow.groups
        and wide.workloads <= narrow.workloads
    )


def _order(term: Term) -> tuple[str, str, list[str], list[str]]:
    return term.issuer, term.subject, sorted(term.groups), sorted(term.workloads)
