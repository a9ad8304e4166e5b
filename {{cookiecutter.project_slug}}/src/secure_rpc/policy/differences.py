"""What changes between two policies: who gains and who loses which permission, however roles were moved about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from secure_rpc.policy.document import Binding, Policy, Who, permissions_of


class Grant(NamedTuple):
    """One permission of one description of principals."""

    who: str  # in words
    permission: str
    tenants: str  # in words
    condition: str
    expires: str

    def __str__(self) -> str:
        """Return it as the end of a sentence."""
        condition = f", if {self.condition}" if self.condition else ""
        expires = f", until {self.expires}" if self.expires else ""
        return f"{self.permission} for {self.tenants}{condition}{expires}"


class Change(NamedTuple):
    """What somebody gains or loses."""

    gains: bool
    grant: Grant

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"{self.grant.who} {'gains' if self.gains else 'loses'} {self.grant}"


def differences(before: Policy, after: Policy) -> list[Change]:
    """Return what is lost, then what is gained, each in alphabetical order."""
    old, new = set(_grants(before)), set(_grants(after))
    lost = [Change(gains=False, grant=grant) for grant in sorted(old - new)]
    return lost + [Change(gains=True, grant=grant) for grant in sorted(new - old)]


def told(before: Policy, after: Policy, limit: int) -> list[str]:
    """Return the differences in words, no more than a limit of them."""
    found = [str(change) for change in differences(before, after)]
    return found if len(found) <= limit else [*found[:limit], f"and {len(found) - limit} more"]


def in_words(who: Who) -> str:
    """Return a description of principals as a person would say it."""
    parts = []
    if who.subject:
        parts.append(f"user {who.subject}")
    if who.group:
        parts.append(f"group {who.group}")
    if who.issuer:
        parts[-1] += f" of {who.issuer}"
    if who.workload:
        parts.append(f"through {who.workload}" if parts else f"workload {who.workload}")
    return " ".join(parts)


def _grants(policy: Policy) -> Iterator[Grant]:
    permissions = {role: sorted(permissions_of(policy, role)) for role in policy.roles}
    for binding in policy.bindings:
        for who in binding.principals:
            for permission in permissions[binding.role]:
                expires = "" if binding.expires is None else binding.expires.isoformat()
                yield Grant(in_words(who), permission, _tenants(binding), binding.condition, expires)


def _tenants(binding: Binding) -> str:
    if isinstance(binding.tenants, tuple):
        names = ", ".join(sorted(binding.tenants))
        return f"tenant {names}" if len(binding.tenants) == 1 else f"tenants {names}"
    return "their own tenants" if binding.tenants == "own" else "all tenants"
