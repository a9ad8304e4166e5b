"""policy.yaml: roles that give permissions, bindings that give roles to principals."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field, field_validator, model_validator

from secure_rpc.configuration import ConfigurationError, Section, YamlDocument, parse_yaml, read_text
from secure_rpc.policy import references
from secure_rpc.quota import Quota, most_generous

OTHER_NAMES = ("dns:", "cn:")  # of workloads whose certificate has no SPIFFE ID


class Part(Section):
    """A part of the policy; what its fields say below them goes into the JSON schema, which editors show."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Role(Part):
    """A named set of permissions."""

    permissions: tuple[str, ...] = ()
    """Permissions that methods ask for in their protos, such as `orders.read`."""
    includes: tuple[str, ...] = ()
    """Other roles, whose permissions and quotas it has too."""
    quotas: dict[str, Quota] = Field(default_factory=dict)
    """How many calls its holders may make, by quota class, in place of what the settings say."""


class Who(Part):
    """A description of principals: all that it names must be so.

    One that names a workload alone speaks of calls made without a token: what a gateway may do by itself
    is not lent to the users whose calls it passes on.
    """

    issuer: str = ""
    """The `iss` of the token; `api-key` for callers with an API key."""
    subject: str = ""
    """The user of that issuer."""
    group: str = ""
    """A group that the token of that issuer names."""
    workload: str = ""
    """The SPIFFE ID of the certificate; one `*` stands for the characters of one path segment. Else `dns:` or `cn:`
    and a name, where the settings accept such certificates."""

    @model_validator(mode="after")
    def _names_somebody(self) -> Who:
        if (self.subject or self.group) and not self.issuer:
            raise ValueError('"subject" and "group" need "issuer": another issuer may give the same name to another')
        if not (self.subject or self.group or self.workload):
            raise ValueError('name a "subject", a "group" or a "workload"')
        if self.issuer and not (self.subject or self.group):
            raise ValueError('"issuer" needs a "subject" or a "group": a workload alone speaks of calls without token')
        if self.workload and not self.workload.startswith(("spiffe://", *OTHER_NAMES)):
            raise ValueError(
                '"workload" is a SPIFFE ID, such as spiffe://example.org/ns/shop/sa/orders, '
                'or "dns:" or "cn:" and a name, where the settings accept such certificates'
            )
        if problem := references.workload_problem(self.workload):
            raise ValueError(f'"workload" {problem}')
        return self


class Binding(Part):
    """Gives a role to principals."""

    name: str = Field(default="", max_length=100)
    """What records and reports call this binding; unique. Its number and role where it has none."""
    role: str
    """One of the roles above."""
    principals: tuple[Who, ...] = Field(min_length=1)
    """To whom; one entry that fits is enough."""
    tenants: Literal["own", "all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "own"
    """For whose data: the tenants that the caller's credentials name, everybody's, or those listed."""
    condition: str = ""
    """A CEL expression that must be true, over principal, request, method, metadata and now."""
    expires: datetime | None = None
    """From when on it gives nothing any more: a day (its first moment, UTC), or a time with its zone."""

    @field_validator("expires", mode="before")
    @classmethod
    def _moment(cls, value: object) -> object:
        if isinstance(value, str):
            with suppress(ValueError):
                value = date.fromisoformat(value) if len(value) == len("2030-01-01") else datetime.fromisoformat(value)
        if value is None:
            return None
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError('a time needs its zone, such as "Z"; or write a day alone')
            return value
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        raise ValueError("neither a day, such as 2030-01-01, nor a time with its zone, such as 2030-01-01T12:00:00Z")


class Policy(Part):
    """Who may do what: roles give permissions, bindings give roles. What nobody is given, nobody has."""

    version: Literal[1]
    """Of this format."""
    roles: dict[str, Role]
    """Named sets of permissions."""
    bindings: tuple[Binding, ...] = ()
    """Who has which role, for whose data."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Policy:
        seen: dict[str, int] = {}
        for number, binding in enumerate(self.bindings):
            if binding.name and seen.setdefault(binding.name, number) != number:
                raise ValueError(
                    f'bindings[{number}] has the name "{binding.name}", as bindings[{seen[binding.name]}] has; '
                    "give it one of its own"
                )
        return self


class Known(NamedTuple):
    """What a policy can speak of, as protos and settings have it; what is not among it would never count."""

    permissions: Collection[str]  # that methods ask for
    issuers: Collection[str]
    trust_domains: Collection[str]
    other_names: Collection[str] = ()  # of OTHER_NAMES, those that the settings accept
    quota_classes: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy that holds together, and where it comes from."""

    policy: Policy
    version: str  # the first characters of the file's SHA-256
    source: YamlDocument

    def conditions(self) -> list[tuple[str, str, str]]:
        """Return where each condition stands, the condition, and the role that it is for; none twice for one role."""
        found = {
            (binding.condition, binding.role): self.source.place(("bindings", number, "condition"))
            for number, binding in reversed(list(enumerate(self.policy.bindings)))
            if binding.condition
        }
        return [(place, expression, role) for (expression, role), place in reversed(found.items())]

    def check(self, known: Known) -> None:
        """Refuse what does not exist around the policy: it is misspelt, and would silently give nothing.

        Raises:
            ConfigurationError: there are such permissions, quota classes, issuers or trust domains.
        """
        policy, place = self.policy, self.source.place
        if problems := [
            *references.unknown_permissions(policy.roles, known.permissions, place),
            *references.unknown_quota_classes(policy.roles, known.quota_classes, place),
            *references.unknown_principals(policy.bindings, known, place),
        ]:
            raise ConfigurationError(*problems)


def load(path: Path) -> PolicyDocument:
    """Read a policy.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    return parse(path, read_text(path))


def parse(path: Path, text: str) -> PolicyDocument:
    """Return the policy that a text holds.

    Args:
        path: where the text comes from.
        text: YAML.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    source = parse_yaml(path, text)
    policy = source.validated(Policy)
    problems = [
        *references.unknown_roles(policy.roles, policy.bindings, source.place),
        *references.cycles(policy.roles, source.place),
    ]
    if problems:
        raise ConfigurationError(*problems)
    return PolicyDocument(policy, hashlib.sha256(text.encode()).hexdigest()[:12], source)


def permissions_of(policy: Policy, role: str) -> frozenset[str]:
    """Return what a role allows, included roles and all; the policy has no cycles."""
    found = policy.roles[role]
    return frozenset(found.permissions).union(*(permissions_of(policy, name) for name in found.includes))


def quotas_of(policy: Policy, role: str) -> dict[str, Quota]:
    """Return the quotas of a role, those of included roles too; the policy has no cycles."""
    found = policy.roles[role]
    return together([found.quotas, *(quotas_of(policy, name) for name in found.includes)])


def together(several: Iterable[Mapping[str, Quota]]) -> dict[str, Quota]:
    """Return the most generous quota of each class."""
    found: dict[str, list[Quota]] = {}
    for quotas in several:
        for name, quota in quotas.items():
            found.setdefault(name, []).append(quota)
    return {name: most_generous(quotas) for name, quotas in found.items()}
