"""Made-up policies of any size, and callers who are given something by them: what the measurements of policies share.

A service with 60 permissions; each role gives three of them, each binding gives one role to one user. The bindings
are as many as asked for, the roles as many as the bindings, up to a thousand.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from secure_rpc.call import Contract, Method, Patience, Principal
from secure_rpc.policy.document import Known, PolicyDocument, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import MethodDescriptor

ISSUER, TENANT = "https://issuer.example.org", "acme"
PERMISSIONS = tuple(f"things{number}.{verb}" for number in range(15) for verb in ("read", "write", "delete", "list"))
MOST_ROLES, PERMISSIONS_OF_ROLE = 1000, 3
SEED = 1  # the same policies each time
ON_PRINCIPAL, ON_REQUEST = "user-on-principal", "user-on-request"
CONDITIONS = {ON_PRINCIPAL: f'"{TENANT}" in principal.tenants', ON_REQUEST: f'request.tenant == "{TENANT}"'}
KNOWN = Known(frozenset(PERMISSIONS), (ISSUER,), ())


@dataclass(frozen=True, slots=True)
class MadePolicy:
    """A policy and who is bound by it."""

    roles: dict[str, tuple[str, ...]]  # their permissions
    bindings: tuple[tuple[str, str], ...]  # user and role

    @classmethod
    def of(cls, size: int) -> MadePolicy:
        """Return a policy of as many bindings."""
        chance = random.Random(SEED)  # noqa: S311  # no secret is made
        roles = {
            f"role-{number}": tuple(chance.sample(PERMISSIONS, PERMISSIONS_OF_ROLE))
            for number in range(min(size, MOST_ROLES))
        }
        return cls(roles, tuple((f"user-{number}", f"role-{number % len(roles)}") for number in range(size)))

    def text(self, conditions: Mapping[str, str] | None = None) -> str:
        """Return it as our engine reads it.

        Args:
            conditions: of further bindings, by their user.
        """
        given = [(user, role, "") for user, role in self.bindings]
        given += [(user, "role-0", condition) for user, condition in (conditions or {}).items()]
        bindings: list[dict[str, Any]] = [
            {
                "role": role,
                "principals": [{"issuer": ISSUER, "subject": user}],
                "tenants": "own",
                **({"condition": condition} if condition else {}),
            }
            for user, role, condition in given
        ]
        roles = {name: {"permissions": list(permissions)} for name, permissions in self.roles.items()}
        return yaml.dump({"version": 1, "roles": roles, "bindings": bindings}, Dumper=yaml.CSafeDumper)

    def document(self, conditions: Mapping[str, str] | None = None) -> PolicyDocument:
        """Return it read and checked."""
        document = parse(Path("policy.yaml"), self.text(conditions))
        document.check(KNOWN)
        return document

    def allowed(self, count: int) -> list[tuple[str, str]]:
        """Return users and permissions that they have, by chance and the same each time."""
        chance = random.Random(SEED)  # noqa: S311
        return [(user, chance.choice(self.roles[role])) for user, role in chance.choices(self.bindings, k=count)]

    def refused(self, count: int) -> list[tuple[str, str]]:
        """Return users and permissions that they do not have."""
        chance = random.Random(SEED)  # noqa: S311
        return [
            (user, chance.choice([name for name in PERMISSIONS if name not in self.roles[role]]))
            for user, role in chance.choices(self.bindings, k=count)
        ]


def caller(user: str, token: int = 0) -> Principal:
    """Return who calls.

    Args:
        user: the subject.
        token: its number: each ends at another time, and so is another principal to the engine.
    """
    return Principal(
        workload="spiffe://example.org/ns/shop/sa/frontend",
        issuer=ISSUER,
        subject=user,
        tenants=frozenset({TENANT}),
        groups=frozenset({"staff", "readers"}),
        proofs=("certificate", "bound-token"),
        expires_at_seconds=4e9 + token,
    )


def asking(permission: str, descriptor: MethodDescriptor | None = None) -> Method:
    """Return a method that asks for a permission."""
    path = "/things.v1.ThingService/GetThing"
    return Method(path, Patience(1), descriptor=descriptor, contract=Contract(permissions=(permission,)))
