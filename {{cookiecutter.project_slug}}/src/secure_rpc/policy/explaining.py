"""Why a principal may or may not make a call: which bindings speak of it, and what keeps each from giving it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from secure_rpc.policy.conditions import Asked, Conditions
from secure_rpc.policy.engine import Decision, Engine, workload_pattern
from secure_rpc.policy.entries import Entry
from secure_rpc.policy.questions import PUBLIC
from secure_rpc.policy.reach import Wanted, time_in_words, wanted_by


class Near(NamedTuple):
    """A description of principals that is given something of what the method asks."""

    entry: Entry
    obstacles: tuple[str, ...]  # why it does not give it to this call; none: it does
    depends: str = ""  # on what, beside


class Explanation(NamedTuple):
    """What the policy says of a call, and why."""

    allowed: bool
    rule: str  # by which, or why not
    decision: Decision | None  # None: the method is public
    wanted: Wanted
    near: tuple[Near, ...]  # those with the fewest obstacles first


def explain(entries: Iterable[Entry], engine: Engine, asked: Asked, tenant: str = "") -> Explanation:
    """Return what a policy says of a call, and why.

    Args:
        entries: of the policy.
        engine: of the same policy, whose word counts.
        asked: the call; its time is that of the engine. Without request: what it depends on is said.
        tenant: whose data it touches; "" where that is left open.
    """
    contract = asked.method.contract
    wanted = wanted_by(contract)
    if contract.public:
        return Explanation(allowed=True, rule=PUBLIC, decision=None, wanted=wanted, near=())
    decision = engine.decide(asked.principal, asked.method, asked.metadata, asked.request)
    allowed, rule = decision.allowed, decision.rule
    if allowed and contract.tenant_field and tenant and not decision.covers(tenant):
        allowed, rule = False, f'what {decision.rule} gives is not for the tenant "{tenant}"'
    asked_for = frozenset(contract.permissions + contract.any_permissions)
    looked_at = tenant if contract.tenant_field else ""
    near = [
        _near(entry, engine.conditions, asked, looked_at)
        for entry in entries
        if not asked_for.isdisjoint(entry.permissions)
    ]
    return Explanation(allowed, rule, decision, wanted, tuple(sorted(near, key=lambda one: len(one.obstacles))))


def _near(entry: Entry, conditions: Conditions, asked: Asked, tenant: str) -> Near:
    obstacles = [*_expiry(entry, asked.now_seconds), *_identity(entry, asked)]
    depends = ""
    if entry.condition and not obstacles:
        if asked.request is None and conditions.uses_request(entry.condition, asked.method):
            depends = f"on the request: {entry.condition}"
        else:
            verdict = conditions.holds(entry.condition, asked)
            if verdict.failure:
                obstacles.append(f"its condition failed ({verdict.failure}): {entry.condition}")
            elif not verdict.holds:
                obstacles.append(f"its condition is false: {entry.condition}")
    if tenant:
        obstacles += _tenant(entry, asked, tenant)
    return Near(entry, tuple(obstacles), depends)


def _expiry(entry: Entry, now_seconds: float) -> Iterator[str]:
    if entry.expires_at_seconds <= now_seconds:
        yield f"it has expired on {time_in_words(entry.expires_at_seconds)}"


def _identity(entry: Entry, asked: Asked) -> Iterator[str]:
    principal = asked.principal
    if entry.issuer and not principal.subject:
        yield f"it is for users of {entry.issuer}, and the call has no token"
        return
    if not entry.issuer and principal.subject:
        yield "it is for calls without a token"
    if entry.issuer and entry.issuer != principal.issuer:
        yield f"it is for users of {entry.issuer}"
    if entry.subject and entry.subject != principal.subject:
        yield f"it is for the user {entry.subject}"
    if entry.group and entry.group not in principal.groups:
        yield f"the caller is not in the group {entry.group}"
    if entry.workload and not workload_pattern(entry.workload).fullmatch(principal.workload):
        yield f"it is for the workload {entry.workload}"


def _tenant(entry: Entry, asked: Asked, tenant: str) -> Iterator[str]:
    if entry.own_tenants and tenant not in asked.principal.tenants:
        yield f"it is for the caller's own tenants, and {tenant} is none of them"
    elif not entry.own_tenants and entry.tenants is not None and tenant not in entry.tenants:
        yield f"it is for {'tenants' if len(entry.tenants) > 1 else 'tenant'} {', '.join(sorted(entry.tenants))}"
