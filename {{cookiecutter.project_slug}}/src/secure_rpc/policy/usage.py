"""What the policy gives and nobody uses, told from audit records."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from secure_rpc.call import Method
from secure_rpc.policy.document import PolicyDocument, permissions_of
from secure_rpc.policy.engine import workload_pattern
from secure_rpc.policy.entries import Entry, entries_of

TELLING_DAYS = 90  # a log of fewer does not show what is done once in a quarter
# of refusals that name a binding: it would have given what the method asks, but not for that tenant
_REFUSED_BY_POLICY = frozenset({"PERMISSION_MISSING", "TENANT_DENIED", "TENANT_MISSING"})


class Binding(NamedTuple):
    """A binding, as reports name it."""

    rule: str
    place: str
    role: str


class PartlyUsed(NamedTuple):
    """A binding of which only a part is used."""

    binding: Binding
    used: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(slots=True)
class Usage:
    """What was used of a policy."""

    calls: int = 0
    allowed: int = 0  # by a binding
    left_out: int = 0  # of those, by bindings of other versions that cannot be told from those of now
    first: datetime | None = None
    last: datetime | None = None
    versions: Counter[str] = field(default_factory=Counter)  # of the policy, by allowed calls
    permissions: set[str] = field(default_factory=set)
    by_rule: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # permissions, by binding of now

    @property
    def days(self) -> float:
        """Return how long the log spans."""
        if self.first is None or self.last is None:
            return 0.0
        return (self.last - self.first).total_seconds() / 86_400


class Unused(NamedTuple):
    """What is given and not used."""

    bindings: tuple[Binding, ...]
    parts: tuple[PartlyUsed, ...]  # of bindings that are used
    roles: tuple[str, ...]
    permissions: tuple[str, ...]


class _Caller(NamedTuple):
    """What a record says of who called: no group, no claim."""

    issuer: str
    subject: str
    workload: str


class UsageReader:
    """Hold records against a policy.

    A record names the binding by which the call was allowed, and the version of the policy. Of another version, only a
    name that a person gave to a binding is sure to mean the same. Beside that, a binding that describes the caller by
    user or workload would have allowed the call too, and counts as used; one that describes a group cannot be held
    against records: they name no groups.

    Args:
        document: the policy of now.
        methods: of the service.
        since: records before it are passed over.
    """

    def __init__(self, document: PolicyDocument, methods: Sequence[Method], since: datetime | None = None) -> None:
        self._document = document
        self._since = since
        self._asked: Mapping[str, frozenset[str]] = {
            method.path: frozenset(method.contract.permissions + method.contract.any_permissions) for method in methods
        }
        self._needed = {method.path: frozenset(method.contract.permissions) for method in methods}
        self._entries = list(entries_of(document))
        self._given = {entry.rule: entry.permissions for entry in self._entries}
        self._named = {binding.name for binding in document.policy.bindings if binding.name}
        self._by_identity = functools.lru_cache(10_000)(self._rules_of)
        self.usage = Usage()

    def read(self, records: Iterable[Mapping[str, Any]]) -> Usage:
        """Count records of calls, in any order."""
        for record in records:
            self._note(record)
        return self.usage

    def _note(self, record: Mapping[str, Any]) -> None:
        time = datetime.fromisoformat(str(record["time"]))
        if self._since is not None and time < self._since:
            return
        usage = self.usage
        usage.calls += 1
        usage.first = time if usage.first is None else min(usage.first, time)
        usage.last = time if usage.last is None else max(usage.last, time)
        rule, version = str(record.get("rule", "")), str(record.get("policy", ""))
        asked = self._asked.get(str(record["method"]), frozenset())
        if not rule or not asked or record["reason"] in _REFUSED_BY_POLICY:
            return
        usage.allowed += 1
        usage.versions[version] += 1
        is_ours = rule in self._given and (version == self._document.version or rule in self._named)
        rules = {rule} if is_ours else set()
        caller = _Caller(str(record["issuer"]), str(record["subject"]), str(record["workload"]))
        rules |= {each for each in self._by_identity(caller) if self._given[each] & asked}
        if not rules:
            usage.left_out += 1
        given = frozenset().union(*(self._given[each] for each in rules)) if rules else asked
        usage.permissions |= self._needed[str(record["method"])] | (asked & given)
        for each in rules:
            usage.by_rule[each] |= asked & self._given[each]

    def _rules_of(self, caller: _Caller) -> frozenset[str]:
        """Return the bindings that describe a caller by what records say of callers."""
        return frozenset(
            entry.rule for entry in self._entries if not entry.condition and not entry.group and _is_of(entry, caller)
        )


def _is_of(entry: Entry, caller: _Caller) -> bool:
    if bool(entry.issuer) != bool(caller.subject):
        return False
    if entry.issuer and (entry.issuer, entry.subject) != (caller.issuer, caller.subject):
        return False
    return not entry.workload or workload_pattern(entry.workload).fullmatch(caller.workload) is not None


def unused(document: PolicyDocument, usage: Usage) -> Unused:
    """Return what a policy gives and nobody has used."""
    policy = document.policy
    bindings: dict[Binding, frozenset[str]] = {}
    places: dict[str, Binding] = {}
    for entry in entries_of(document):
        binding = places.setdefault(entry.rule, Binding(entry.rule, entry.place, entry.role))
        bindings[binding] = entry.permissions
    used_roles: set[str] = set()
    for rule, permissions in usage.by_rule.items():
        used_roles |= {
            role for role in _closure(document, places[rule].role) if permissions_of(policy, role) & permissions
        }
    parts = [
        PartlyUsed(binding, tuple(sorted(used)), tuple(sorted(given - used)))
        for binding, given in bindings.items()
        if (used := usage.by_rule.get(binding.rule)) and given - used
    ]
    given_at_all = frozenset().union(*bindings.values()) if bindings else frozenset()
    return Unused(
        tuple(binding for binding in bindings if not usage.by_rule.get(binding.rule)),
        tuple(parts),
        tuple(role for role in policy.roles if role not in used_roles),
        tuple(sorted(given_at_all - usage.permissions)),
    )


def _closure(document: PolicyDocument, role: str) -> set[str]:
    """Return a role and those that it includes."""
    return {role}.union(*(_closure(document, name) for name in document.policy.roles[role].includes))
