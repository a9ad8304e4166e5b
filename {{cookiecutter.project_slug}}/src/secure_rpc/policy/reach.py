"""Who a policy lets do something, told from its bindings alone: also where only several bindings together give it."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from secure_rpc.call import Contract
from secure_rpc.policy.engine import workload_pattern
from secure_rpc.policy.entries import NEVER, Entry

Wanted: TypeAlias = Sequence[frozenset[str]]  # of each set, one permission


class Callers(NamedTuple):
    """A description of principals; all of it must be so."""

    issuer: str
    subject: str
    groups: frozenset[str]
    workloads: frozenset[str]

    def __str__(self) -> str:
        """Return it as a person would say it."""
        parts = [f"user {self.subject}"] if self.subject else []
        parts += [f"group {group}" for group in sorted(self.groups)]
        text = " and ".join(parts) + (f" of {self.issuer}" if self.issuer else "")
        workloads = " and ".join(sorted(self.workloads))
        if not workloads:
            return text
        return f"{text} through {workloads}" if text else f"workload {workloads}"


class Scope(NamedTuple):
    """For whose data."""

    own: bool  # only the tenants of the principal
    listed: frozenset[str] | None  # only these; None: no matter which

    def __str__(self) -> str:
        """Return it as a person would say it."""
        if self.listed is None:
            return "their own tenants" if self.own else "all tenants"
        names = ", ".join(sorted(self.listed))
        plural = "tenants" if len(self.listed) > 1 else "tenant"
        return f"their own tenants among {names}" if self.own else f"{plural} {names}"

    def includes(self, other: Scope) -> bool:
        """Tell whether all data of the other is of this."""
        if self.own and not other.own:
            return False
        return self.listed is None or (other.listed is not None and other.listed <= self.listed)

    def can_include(self, tenant: str) -> bool:
        """Tell whether that tenant's data is of this, at least where the tenant is the principal's."""
        return self.listed is None or tenant in self.listed


class Reach(NamedTuple):
    """That some principals are given something."""

    callers: Callers
    scope: Scope
    conditions: frozenset[str]  # all of them must hold
    expires_at_seconds: float
    rules: frozenset[tuple[str, str]]  # which bindings give it together, and where they stand

    def covers(self, other: Reach) -> bool:
        """Tell whether the other gives nothing more, if both are of the same callers."""
        return (
            self.scope.includes(other.scope)
            and self.conditions <= other.conditions
            and self.expires_at_seconds >= other.expires_at_seconds
        )


def wanted_by(contract: Contract) -> Wanted:
    """Return what a contract asks for."""
    wanted = [frozenset({permission}) for permission in contract.permissions]
    return [*wanted, frozenset(contract.any_permissions)] if contract.any_permissions else wanted


def reaches(entries: Iterable[Entry], wanted: Wanted, *, of_tenants: bool = True) -> list[Reach]:
    """Return all descriptions of principals that are given what is wanted, each by as few bindings as it takes.

    Args:
        entries: of the policy.
        wanted: of each set one permission; nothing wanted is given to nobody.
        of_tenants: whether what is wanted touches the data of a tenant; else for whom bindings are does not count.
    """
    if not of_tenants:
        entries = [entry._replace(tenants=None, own_tenants=False) for entry in entries]
    useful = [entry for entry in entries if any(not entry.permissions.isdisjoint(one) for one in wanted)]
    alone, parts = list[Reach](), list[Entry]()
    for entry in useful:
        if all(not entry.permissions.isdisjoint(one) for one in wanted):
            alone.append(_reach(entry))
        else:
            parts.append(entry)
    return alone + _together(parts, wanted)


def _together(parts: Sequence[Entry], wanted: Wanted) -> list[Reach]:
    """Return what bindings give together of which none gives all."""
    if len(wanted) < 2:  # noqa: PLR2004  # one thing is given by one binding
        return []
    found: dict[frozenset[tuple[str, str]], Reach] = {}
    first, *others = wanted
    joined = [_reach(entry) for entry in parts if not entry.permissions.isdisjoint(first)]
    for one in others:
        index = _Index(_reach(entry) for entry in parts if not entry.permissions.isdisjoint(one))
        found = {
            both.rules: both
            for left in joined
            for right in index.like(left)
            if (both := _both(left, right)) is not None
        }
        joined = list(found.values())
    return [reach for rules, reach in found.items() if not any(fewer < rules for fewer in found)]


class _Index:
    """Reaches by the user that they name: those of two users have no principal in common."""

    def __init__(self, reaches_: Iterable[Reach]) -> None:
        self._by_user: dict[tuple[str, str], list[Reach]] = defaultdict(list)
        self._by_issuer: dict[str, list[Reach]] = defaultdict(list)
        for reach in reaches_:
            self._by_user[reach.callers.issuer, reach.callers.subject].append(reach)
            self._by_issuer[reach.callers.issuer].append(reach)

    def like(self, reach: Reach) -> Iterator[Reach]:
        issuer, subject = reach.callers.issuer, reach.callers.subject
        if not subject:
            return iter(self._by_issuer.get(issuer, ()))
        return itertools.chain(self._by_user.get((issuer, subject), ()), self._by_user.get((issuer, ""), ()))


def _reach(entry: Entry) -> Reach:
    callers = Callers(
        entry.issuer,
        entry.subject,
        frozenset({entry.group} if entry.group else ()),
        frozenset({entry.workload} if entry.workload else ()),
    )
    return Reach(
        callers,
        Scope(entry.own_tenants, None if entry.own_tenants else entry.tenants),
        frozenset({entry.condition} if entry.condition else ()),
        entry.expires_at_seconds,
        frozenset({(entry.rule, entry.place)}),
    )


def _both(one: Reach, other: Reach) -> Reach | None:
    """Return what two give together, None where no principal and no tenant can be of both."""
    callers = _join(one.callers, other.callers)
    listed = one.scope.listed
    if other.scope.listed is not None:
        listed = other.scope.listed if listed is None else listed & other.scope.listed
    if callers is None or listed == frozenset():
        return None
    return Reach(
        callers,
        Scope(one.scope.own or other.scope.own, listed),
        one.conditions | other.conditions,
        min(one.expires_at_seconds, other.expires_at_seconds),
        one.rules | other.rules,
    )


def _join(one: Callers, other: Callers) -> Callers | None:
    """Return who is of both, None where nobody can be; two that name different users are never asked about."""
    if one.issuer != other.issuer:  # one that names no issuer speaks of calls without a token
        return None
    workloads = one.workloads | other.workloads
    names = {name for name in workloads if "*" not in name}
    if len(names) > 1:
        return None
    for name in names:  # a call comes from one workload
        if not all(workload_pattern(each).fullmatch(name) for each in workloads - names):
            return None
    return Callers(one.issuer, one.subject or other.subject, one.groups | other.groups, frozenset(names) or workloads)


def time_in_words(seconds: float) -> str:
    """Return a Unix time as a day where it is the first moment of one (UTC), "" for never."""
    if seconds == NEVER:
        return ""
    time = datetime.fromtimestamp(seconds, UTC)
    return time.date().isoformat() if seconds % 86_400 == 0 else time.isoformat().replace("+00:00", "Z")
