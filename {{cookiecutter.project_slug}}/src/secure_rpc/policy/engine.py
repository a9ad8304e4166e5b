"""The decision: what a principal is given, against what a method asks. Compiled once, denied by default."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.document import Binding, PolicyDocument, Who, permissions_of

REMEMBERED_PRINCIPALS = 10_000


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a principal may call a method, by which rule, and for whose data."""

    allowed: bool
    rule: str
    tenants: frozenset[str] | None = frozenset()  # None: all of them

    def covers(self, tenant: str) -> bool:
        """Tell whether the data of that tenant may be touched."""
        return self.tenants is None or tenant in self.tenants


@dataclass(frozen=True, slots=True)
class _Entry:
    rule: str
    permissions: frozenset[str]
    tenants: frozenset[str] | None
    own_tenants: bool
    who: Who
    pattern: re.Pattern[str] | None


class Engine:
    """Decide by one version of the policy.

    Args:
        document: the policy.
        size: for how many principals the grants are remembered.
    """

    def __init__(self, document: PolicyDocument, size: int = REMEMBERED_PRINCIPALS) -> None:
        self.version = document.version
        self._entries: dict[tuple[str, str, str], list[_Entry]] = defaultdict(list)
        self._patterns: list[_Entry] = []
        roles = {name: permissions_of(document.policy, name) for name in document.policy.roles}
        for number, binding in enumerate(document.policy.bindings):
            for who in binding.principals:
                self._add(_entry(f"bindings[{number}] {binding.role}", roles[binding.role], binding, who))
        self._grants_of = functools.lru_cache(size)(self._collect)

    def decide(self, principal: Principal, contract: Contract) -> Decision:
        """Return whether the principal may do what the contract describes."""
        grants = self._grants_of(principal)
        used: list[Decision] = []
        for permission in contract.permissions:
            grant = grants.get(permission)
            if grant is None:
                return Decision(allowed=False, rule=f"no binding gives {permission}")
            used.append(grant)
        if contract.any_permissions:
            several = [grants[name] for name in contract.any_permissions if name in grants]
            if not several:
                return Decision(allowed=False, rule=f"no binding gives one of {', '.join(contract.any_permissions)}")
            used.append(functools.reduce(_either, several))
        if not used:
            return Decision(allowed=False, rule="the method asks for no permission")
        return used[0] if len(used) == 1 else functools.reduce(_both, used)

    def _add(self, entry: _Entry) -> None:
        who = entry.who
        if who.subject:
            self._entries["subject", who.issuer, who.subject].append(entry)
        elif who.group:
            self._entries["group", who.issuer, who.group].append(entry)
        elif entry.pattern is None:
            self._entries["workload", "", who.workload].append(entry)
        else:
            self._patterns.append(entry)

    def _candidates(self, principal: Principal) -> Iterator[_Entry]:
        if principal.subject:
            yield from self._entries.get(("subject", principal.issuer, principal.subject), ())
            for group in principal.groups:
                yield from self._entries.get(("group", principal.issuer, group), ())
        else:
            yield from self._entries.get(("workload", "", principal.workload), ())
            yield from self._patterns

    def _collect(self, principal: Principal) -> dict[str, Decision]:
        """Return by permission what a principal is given: for most methods that is the decision."""
        found: dict[str, Decision] = {}
        for entry in self._candidates(principal):
            if not _matches(entry, principal):
                continue
            tenants = principal.tenants if entry.own_tenants else entry.tenants
            grant = Decision(allowed=True, rule=entry.rule, tenants=tenants)
            for permission in entry.permissions:
                before = found.get(permission)
                found[permission] = grant if before is None else _either(before, grant)
        return found


def _entry(rule: str, permissions: frozenset[str], binding: Binding, who: Who) -> _Entry:
    pattern = re.compile(re.escape(who.workload).replace(r"\*", "[^/]+")) if "*" in who.workload else None
    return _Entry(
        rule=rule,
        permissions=permissions,
        tenants=frozenset(binding.tenants) if isinstance(binding.tenants, tuple) else None,
        own_tenants=binding.tenants == "own",
        who=who,
        pattern=pattern,
    )


def _matches(entry: _Entry, principal: Principal) -> bool:
    """Tell whether all that the entry names is so; what names it was found by counts too."""
    who = entry.who
    if who.issuer and who.issuer != principal.issuer:
        return False
    if who.subject and who.subject != principal.subject:
        return False
    if who.group and who.group not in principal.groups:
        return False
    if entry.pattern is not None:
        return entry.pattern.fullmatch(principal.workload) is not None
    return not who.workload or who.workload == principal.workload


def _either(one: Decision, other: Decision) -> Decision:
    tenants = None if one.tenants is None or other.tenants is None else one.tenants | other.tenants
    return Decision(allowed=True, rule=one.rule, tenants=tenants)


def _both(one: Decision, other: Decision) -> Decision:
    if one.tenants is None or other.tenants is None:
        tenants = other.tenants if one.tenants is None else one.tenants
    else:
        tenants = one.tenants & other.tenants
    return Decision(allowed=True, rule=one.rule, tenants=tenants)
