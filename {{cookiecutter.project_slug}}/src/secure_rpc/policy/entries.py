"""The bindings of a policy as flat entries, one for each description of principals: what the engine looks up.

They are plain data, so that a big policy can be read and checked in another process and handed over in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from secure_rpc.policy.document import PolicyDocument, permissions_of, quotas_of
from secure_rpc.quota import Quota

NEVER = float("inf")


class Entry(NamedTuple):
    """One description of principals, and what it is given."""

    rule: str  # what records call it
    place: str  # "policy.yaml:42"
    role: str
    permissions: frozenset[str]
    tenants: frozenset[str] | None  # None: all of them
    own_tenants: bool  # those of the principal, whatever `tenants` says
    issuer: str
    subject: str
    group: str
    workload: str
    condition: str
    expires_at_seconds: float
    quotas: tuple[tuple[str, Quota], ...] = ()  # by class


def entries_of(document: PolicyDocument) -> Iterator[Entry]:
    """Yield the entries of a policy that holds together, in its order."""
    policy, source = document.policy, document.source
    permissions = {name: permissions_of(policy, name) for name in policy.roles}
    quotas = {name: tuple(quotas_of(policy, name).items()) for name in policy.roles}
    for number, binding in enumerate(policy.bindings):
        rule = binding.name or f"bindings[{number}] {binding.role}"
        for index, who in enumerate(binding.principals):
            yield Entry(
                rule=rule,
                place=source.place(("bindings", number, "principals", index)),
                role=binding.role,
                permissions=permissions[binding.role],
                tenants=frozenset(binding.tenants) if isinstance(binding.tenants, tuple) else None,
                own_tenants=binding.tenants == "own",
                issuer=who.issuer,
                subject=who.subject,
                group=who.group,
                workload=who.workload,
                condition=binding.condition,
                expires_at_seconds=NEVER if binding.expires is None else binding.expires.timestamp(),
                quotas=quotas[binding.role],
            )


def to_plain(entries: Iterable[Entry]) -> list[list[Any]]:
    """Return entries as JSON can hold them; what they may do and how often is left out: their role says that."""
    return [
        [
            entry.rule,
            entry.place,
            entry.role,
            None if entry.tenants is None else sorted(entry.tenants),
            entry.own_tenants,
            entry.issuer,
            entry.subject,
            entry.group,
            entry.workload,
            entry.condition,
            None if entry.expires_at_seconds == NEVER else entry.expires_at_seconds,
        ]
        for entry in entries
    ]


def from_plain(
    rows: Iterable[list[Any]],
    permissions: Mapping[str, frozenset[str]],
    quotas: Mapping[str, tuple[tuple[str, Quota], ...]],
) -> list[Entry]:
    """Return what `to_plain` was given.

    Args:
        rows: as it returned them.
        permissions: of each role.
        quotas: of each role that has any.
    """
    return [
        Entry(
            rule,
            place,
            role,
            permissions[role],
            None if tenants is None else frozenset(tenants),
            own_tenants,
            issuer,
            subject,
            group,
            workload,
            condition,
            NEVER if expires is None else expires,
            quotas.get(role, ()),
        )
        for rule, place, role, tenants, own_tenants, issuer, subject, group, workload, condition, expires in rows
    ]
