"""What a policy refers to, held against what there is: each misspelt name is told by file, line and remedy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from secure_rpc import spiffe
from secure_rpc.configuration import Location, did_you_mean

if TYPE_CHECKING:
    from secure_rpc.policy.document import Binding, Known, Role

Place: TypeAlias = Callable[[Location], str]  # gives "file:line" of a key


def workload_problem(workload: str) -> str:
    """Return why a workload or a pattern of workloads can match nobody, "" where it can.

    The rules are those of the SPIFFE ID document; a star stands for characters that are allowed in its place.
    """
    if not workload.startswith("spiffe://"):
        return "" if "*" not in workload else "has a star, which may stand in the path of a SPIFFE ID only"
    trust_domain, _, path = workload.removeprefix("spiffe://").partition("/")
    if "*" in trust_domain:
        return 'names its trust domain in full; "*" may stand in the path'
    try:
        spiffe.parse(workload.replace("*", "x"))
    except ValueError as error:
        return f"is no SPIFFE ID: {error}"
    return "" if path else "names a trust domain and no workload in it"


def unknown_roles(roles: Mapping[str, Role], bindings: Sequence[Binding], place: Place) -> list[str]:
    """Return a problem for each role that is named and not defined."""
    named: list[tuple[Location, str]] = [
        (("roles", name, "includes", index), included)
        for name, role in roles.items()
        for index, included in enumerate(role.includes)
    ]
    named += [(("bindings", index, "role"), binding.role) for index, binding in enumerate(bindings)]
    return [
        f'{place(location)}: the role "{name}" is not defined; {did_you_mean(name, roles)}'
        for location, name in named
        if name not in roles
    ]


def cycles(roles: Mapping[str, Role], place: Place) -> list[str]:
    """Return a problem for each circle of roles that include each other."""
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> list[str]:
        if name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            return [f"{place(('roles', name))}: roles include each other in a circle: {circle}; break it"]
        if name in done or name not in roles:
            return []
        found = [problem for inner in roles[name].includes for problem in visit(inner, (*above, name))]
        done.add(name)
        return found

    return [problem for name in roles for problem in visit(name, ())]


def unknown_permissions(roles: Mapping[str, Role], known: Collection[str], place: Place) -> Iterator[str]:
    """Yield a problem for each permission that no method asks for."""
    for name, role in roles.items():
        for index, permission in enumerate(role.permissions):
            if permission not in known:
                where = place(("roles", name, "permissions", index))
                remedy = did_you_mean(permission, known)
                yield f'{where}: no method asks for the permission "{permission}"; {remedy}'


def unknown_quota_classes(roles: Mapping[str, Role], known: Collection[str], place: Place) -> Iterator[str]:
    """Yield a problem for each quota class that the settings do not have."""
    for name, role in roles.items():
        for quota_class in role.quotas:
            if quota_class not in known:
                where = place(("roles", name, "quotas", quota_class))
                yield f'{where}: the settings have no quota class "{quota_class}"; {did_you_mean(quota_class, known)}'


def unknown_principals(bindings: Sequence[Binding], known: Known, place: Place) -> Iterator[str]:
    """Yield a problem for each issuer and trust domain that the settings do not have."""
    for number, binding in enumerate(bindings):
        for index, who in enumerate(binding.principals):
            for key, problem in unknown_names(who.issuer, who.workload, known):
                yield f"{place(('bindings', number, 'principals', index, key))}: {problem}"


def unknown_names(issuer: str, workload: str, known: Known) -> Iterator[tuple[str, str]]:
    """Yield the key and the problem of an issuer and of a workload that the settings would not let in."""
    if issuer and issuer not in known.issuers:
        yield "issuer", f'the settings have no issuer "{issuer}"; {did_you_mean(issuer, known.issuers)}'
    if workload and (problem := _foreign_workload(workload, known)):
        yield "workload", problem


def _foreign_workload(workload: str, known: Known) -> str:
    if workload.startswith("spiffe://"):
        trust_domain = workload.removeprefix("spiffe://").partition("/")[0]
        if trust_domain in known.trust_domains:
            return ""
        remedy = did_you_mean(trust_domain, known.trust_domains)
        return f'the settings have no trust domain "{trust_domain}"; {remedy}'
    if workload.startswith(tuple(known.other_names)):
        return ""
    kind = workload.partition(":")[0]
    return f'certificates named by "{kind}" are not accepted; add it to authentication.certificate_names'
