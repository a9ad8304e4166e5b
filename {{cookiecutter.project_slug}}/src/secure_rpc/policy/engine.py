"""The decision: what a principal is given, against what a method asks. Compiled once, denied by default."""

from __future__ import annotations

import functools
import heapq
import re
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from secure_rpc.call import Metadata, Method, Principal
from secure_rpc.policy.conditions import Asked, Conditions
from secure_rpc.policy.document import PolicyDocument, together
from secure_rpc.policy.entries import NEVER, Entry, entries_of
from secure_rpc.policy.remembered import Remembered
from secure_rpc.quota import Quota

REMEMBERED_PRINCIPALS = 10_000
NO_QUOTAS: Mapping[str, Quota] = MappingProxyType({})
ANY_CALLER = "the method is open to any caller whose identity is verified"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a principal may call a method, by which rule, and for whose data."""

    allowed: bool
    rule: str
    tenants: frozenset[str] | None = frozenset()  # None: all of them
    per_message: bool = False  # a condition looks at the request: each message is to be decided on
    policy: str = ""  # the version that decided
    # by class, in place of those of the settings
    quotas: Mapping[str, Quota] = field(default_factory=lambda: NO_QUOTAS, hash=False)

    def covers(self, tenant: str) -> bool:
        """Tell whether the data of that tenant may be touched."""
        return self.tenants is None or tenant in self.tenants


class Grants(NamedTuple):
    """What a principal is given: by permission, and with the entries whose condition must hold first."""

    always: dict[str, Decision]
    conditional: tuple[Entry, ...]
    quotas: Mapping[str, Quota] = NO_QUOTAS  # of roles without condition


class Engine:
    """Decide by one version of the policy.

    Args:
        version: of the policy.
        conditions: compile and evaluate those of bindings.
        size: for how many principals the grants are remembered.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        version: str,
        conditions: Conditions,
        *,
        size: int = REMEMBERED_PRINCIPALS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.version = version
        self.conditions = conditions
        self._clock = clock
        self._by_name: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        self._by_pattern: list[tuple[re.Pattern[str], Entry]] = []
        self._expiries: list[float] = []  # a heap
        self.expressions: set[str] = set()  # the conditions
        self.next_expiry_seconds = NEVER  # Unix time at which the next binding ends
        # held weakly: a policy that is replaced must not wait for the garbage collector, which takes long over it, and
        # does not look at what is there from the start at all
        self._given = Remembered(size, functools.partial(_collect, weakref.ref(self)))

    @classmethod
    def of(
        cls, document: PolicyDocument, conditions: Conditions | None = None, clock: Callable[[], float] = time.time
    ) -> Engine:
        """Return the engine of a whole policy."""
        engine = cls(document.version, conditions or Conditions(), clock=clock)
        engine.add(entries_of(document))
        return engine

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries, before the first decision; a big policy is added in slices."""
        for entry in entries:
            if entry.subject:
                self._by_name["subject", entry.issuer, entry.subject].append(entry)
            elif entry.group:
                self._by_name["group", entry.issuer, entry.group].append(entry)
            elif "*" in entry.workload:
                self._by_pattern.append((workload_pattern(entry.workload), entry))
            else:
                self._by_name["workload", "", entry.workload].append(entry)
            if entry.condition:
                self.expressions.add(entry.condition)
            if entry.expires_at_seconds != NEVER:
                heapq.heappush(self._expiries, entry.expires_at_seconds)
                self.next_expiry_seconds = self._expiries[0]

    def decide(self, principal: Principal, method: Method, metadata: Metadata = (), request: Any = None) -> Decision:
        """Return whether the principal may do what the method's contract describes.

        Args:
            principal: who asks.
            method: for what.
            metadata: of the call, for conditions.
            request: a message, for conditions; None while none has been read: what conditions on it give is then
                counted as given, and the decision says that it is to be made again for each message.
        """
        if self.next_expiry_seconds != NEVER:
            self.expire()
        grants = self._given[principal]
        if not grants.conditional:
            return self._judge(grants.always, method, grants.quotas)
        return self._decide_conditionally(grants, Asked(principal, method, metadata, request, self._clock()))

    def grants_of(self, principal: Principal) -> Grants:
        """Return all that a principal is given."""
        return self._given[principal]

    def _decide_conditionally(self, grants: Grants, asked: Asked) -> Decision:
        contract = asked.method.contract
        wanted = frozenset(contract.permissions + contract.any_permissions)
        held, per_message, denied = dict(grants.always), False, ""
        quotas = [grants.quotas]
        for entry in grants.conditional:
            if wanted.isdisjoint(entry.permissions):
                continue
            looks = self.conditions.uses_request(entry.condition, asked.method)
            per_message = per_message or looks
            if not looks or asked.request is not None:
                verdict = self.conditions.holds(entry.condition, asked)
                if not verdict.holds:
                    denied = denied or (
                        f"the condition of {entry.rule} {'failed' if verdict.failure else 'does not hold'}"
                    )
                    continue
                quotas.append(dict(entry.quotas))  # not on trust: a generous one would be used up before it is known
            self._give(held, entry, asked.principal)
        decision = self._judge(held, asked.method, grants.quotas)
        if not decision.allowed and denied:
            return self._denied(denied)
        if not decision.allowed:
            return decision
        if any(quotas):
            decision = replace(decision, quotas=together(quotas))
        return replace(decision, per_message=True) if per_message else decision

    def _candidates(self, principal: Principal) -> Iterator[Entry]:
        if principal.subject:
            yield from self._by_name.get(("subject", principal.issuer, principal.subject), ())
            for group in sorted(principal.groups):  # the same rule is named each time
                yield from self._by_name.get(("group", principal.issuer, group), ())
        else:
            yield from self._by_name.get(("workload", "", principal.workload), ())
            for pattern, entry in self._by_pattern:
                if pattern.fullmatch(principal.workload):
                    yield entry

    def collect(self, principal: Principal) -> Grants:
        """Return what a principal is given, from the entries: for most methods that is the decision."""
        now = self._clock()
        found: dict[str, Decision] = {}
        given: list[Mapping[str, Quota]] = []
        conditional: list[Entry] = []
        for entry in self._candidates(principal):
            if entry.expires_at_seconds <= now or not _matches(entry, principal):
                continue
            if entry.condition:
                conditional.append(entry)
            else:
                self._give(found, entry, principal)
                given.append(dict(entry.quotas))
        if not any(given):
            return Grants(found, tuple(conditional))
        quotas = together(given)
        found = {permission: replace(decision, quotas=quotas) for permission, decision in found.items()}
        return Grants(found, tuple(conditional), quotas)

    def _give(self, held: dict[str, Decision], entry: Entry, principal: Principal) -> None:
        tenants = principal.tenants if entry.own_tenants else entry.tenants
        grant = Decision(allowed=True, rule=entry.rule, tenants=tenants, policy=self.version)
        for permission in entry.permissions:
            before = held.get(permission)
            held[permission] = grant if before is None else _either(before, grant)

    def _judge(self, held: dict[str, Decision], method: Method, quotas: Mapping[str, Quota]) -> Decision:
        """Hold what is given against what is asked."""
        contract = method.contract
        used: list[Decision] = []
        for permission in contract.permissions:
            grant = held.get(permission)
            if grant is None:
                return self._denied(f"no binding gives {permission}")
            used.append(grant)
        if contract.any_permissions:
            several = [held[name] for name in contract.any_permissions if name in held]
            if not several:
                return self._denied(f"no binding gives one of {', '.join(contract.any_permissions)}")
            used.append(functools.reduce(_either, several))
        if contract.any_caller:
            return Decision(allowed=True, rule=ANY_CALLER, policy=self.version, quotas=quotas)
        if not used:
            return self._denied("the method asks for no permission")
        return used[0] if len(used) == 1 else functools.reduce(_both, used)

    def _denied(self, rule: str) -> Decision:
        return Decision(allowed=False, rule=rule, policy=self.version)

    def expire(self) -> None:
        """Forget what bindings gave that have ended by now."""
        now = self._clock()
        if now < self.next_expiry_seconds:
            return
        while self._expiries and self._expiries[0] <= now:
            heapq.heappop(self._expiries)
        self.next_expiry_seconds = self._expiries[0] if self._expiries else NEVER
        self.forget()

    def forget(self) -> None:
        """Forget what principals were found to be given; it is found anew for those who ask."""
        self._given = self._given.renewed()


def _collect(engine: weakref.ref[Engine], principal: Principal) -> Grants:
    return cast("Engine", engine()).collect(principal)  # it is there: it asks


@functools.lru_cache(4096)
def workload_pattern(text: str) -> re.Pattern[str]:
    """Return what a workload with a star matches: the star stands for characters of one path segment."""
    return re.compile(re.escape(text).replace(r"\*", "[^/]+"))


def _matches(entry: Entry, principal: Principal) -> bool:
    """Tell whether all that the entry names is so; what names it was found by counts too."""
    if entry.issuer and entry.issuer != principal.issuer:
        return False
    if entry.subject and entry.subject != principal.subject:
        return False
    if entry.group and entry.group not in principal.groups:
        return False
    if "*" in entry.workload:
        return workload_pattern(entry.workload).fullmatch(principal.workload) is not None
    return not entry.workload or entry.workload == principal.workload


def _either(one: Decision, other: Decision) -> Decision:
    tenants = None if one.tenants is None or other.tenants is None else one.tenants | other.tenants
    return Decision(allowed=True, rule=one.rule, tenants=tenants, policy=one.policy, quotas=one.quotas)


def _both(one: Decision, other: Decision) -> Decision:
    if one.tenants is None or other.tenants is None:
        tenants = other.tenants if one.tenants is None else one.tenants
    else:
        tenants = one.tenants & other.tenants
    return Decision(allowed=True, rule=one.rule, tenants=tenants, policy=one.policy, quotas=one.quotas)
