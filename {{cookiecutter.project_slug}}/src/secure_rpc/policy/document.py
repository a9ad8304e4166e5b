"""policy.yaml: roles that give permissions, bindings that give roles to principals."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from secure_rpc.configuration import ConfigurationError, Section, YamlDocument, did_you_mean, explain, read_yaml


class Role(Section):
    """A named set of permissions."""

    permissions: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()  # other roles, whose permissions it has too


class Who(Section):
    """A description of principals: all that it names must be so.

    One that names a workload alone speaks of calls made without a token: what a gateway may do by itself
    is not lent to the users whose calls it passes on.
    """

    issuer: str = ""
    subject: str = ""
    group: str = ""
    workload: str = ""  # a SPIFFE ID; one * stands for the characters of one path segment

    @model_validator(mode="after")
    def _names_somebody(self) -> Who:
        if (self.subject or self.group) and not self.issuer:
            raise ValueError('"subject" and "group" need "issuer": another issuer may give the same name to another')
        if not (self.subject or self.group or self.workload):
            raise ValueError('name a "subject", a "group" or a "workload"')
        if self.issuer and not (self.subject or self.group):
            raise ValueError('"issuer" needs a "subject" or a "group": a workload alone speaks of calls without token')
        if self.workload and not self.workload.startswith(("spiffe://", "dns:", "cn:")):
            raise ValueError(
                '"workload" is a SPIFFE ID, such as spiffe://example.org/ns/shop/sa/orders, '
                'or "dns:" or "cn:" and a name, where the settings accept such certificates'
            )
        if "*" in self.workload.removeprefix("spiffe://").partition("/")[0]:
            raise ValueError('"workload" names its trust domain in full; "*" may stand in the path')
        return self


class Binding(Section):
    """Gives a role to principals."""

    role: str
    principals: tuple[Who, ...] = Field(min_length=1)
    tenants: Literal["own", "all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "own"


class Policy(Section):
    """The whole document."""

    version: Literal[1]
    roles: dict[str, Role]
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy that holds together, and where it comes from."""

    policy: Policy
    version: str  # the first characters of the file's SHA-256
    source: YamlDocument

    def check_permissions(self, known: Collection[str]) -> None:
        """Refuse permissions that no method asks for: they are misspelt.

        Raises:
            ConfigurationError: there are some.
        """
        problems = [
            f"{self.source.place(('roles', name, 'permissions', index))}: no method asks for the permission "
            f'"{permission}"; {did_you_mean(permission, known)}'
            for name, role in self.policy.roles.items()
            for index, permission in enumerate(role.permissions)
            if permission not in known
        ]
        if problems:
            raise ConfigurationError(*problems)


def load(path: Path) -> PolicyDocument:
    """Read a policy.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    source = read_yaml(path)
    try:
        policy = Policy.model_validate(source.data)
    except ValidationError as error:
        raise explain(error, Policy, source.place) from None
    problems = [*_unknown_roles(policy, source), *_cycles(policy, source)]
    if problems:
        raise ConfigurationError(*problems)
    return PolicyDocument(policy, hashlib.sha256(path.read_bytes()).hexdigest()[:12], source)


def permissions_of(policy: Policy, role: str) -> frozenset[str]:
    """Return what a role allows, included roles and all; the policy has no cycles."""
    found = policy.roles[role]
    return frozenset(found.permissions).union(*(permissions_of(policy, name) for name in found.includes))


def _unknown_roles(policy: Policy, source: YamlDocument) -> list[str]:
    named = [
        (("roles", name, "includes", index), included)
        for name, role in policy.roles.items()
        for index, included in enumerate(role.includes)
    ] + [(("bindings", index, "role"), binding.role) for index, binding in enumerate(policy.bindings)]
    return [
        f'{source.place(location)}: the role "{name}" is not defined; {did_you_mean(name, policy.roles)}'
        for location, name in named
        if name not in policy.roles
    ]


def _cycles(policy: Policy, source: YamlDocument) -> list[str]:
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> list[str]:
        if name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            return [f"{source.place(('roles', name))}: roles include each other in a circle: {circle}; break it"]
        if name in done or name not in policy.roles:
            return []
        found = [problem for inner in policy.roles[name].includes for problem in visit(inner, (*above, name))]
        done.add(name)
        return found

    return [problem for name in policy.roles for problem in visit(name, ())]
