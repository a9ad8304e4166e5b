"""Rules for Linkerd: a Server that denies by default, routes for methods that ask for the same, and who may take them.

Linkerd knows workloads by their mesh identity, and nothing of tokens. Kinds and fields are those of policy.linkerd.io
and of the Gateway API's GRPCRoute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from secure_rpc.policy.export.common import (
    SERVICE_DECIDES,
    Access,
    Clause,
    Export,
    Inexpressible,
    Rule,
    Target,
    lost_api_keys,
    resource_name,
)
from secure_rpc.policy.export.terms import Term, terms_of

LINKERD, GATEWAY = "policy.linkerd.io", "gateway.networking.k8s.io"
ANY = "*"  # any workload of the mesh
MATCHES_OF_A_RULE, RULES_OF_A_ROUTE = 8, 16  # the Gateway API allows no more
_SERVICE_ACCOUNT = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)")


def export(access: Access, target: Target, *, opaque: bool = False) -> Export:
    """Return the documents for the pods of a service.

    Args:
        access: who may call which method.
        target: whose pods.
        opaque: the service's own TLS passes through the proxy, which then sees workloads and no methods: it lets in
            those that may call some method.
    """
    if opaque:
        return _export_opaque(access, target)
    documents: list[dict[str, Any]] = [_server(target, "gRPC")]
    lost = [*access.inexpressible]
    names: set[str] = set()
    for rule in access.rules:
        identities: set[str] = {ANY}
        if not rule.is_open:
            terms, missed = terms_of(rule)
            identities = {_identity(term) for term in terms}
            lost += missed
        documents += _documents(rule, target, _name(target, rule, names), _widest(identities))
    return Export(documents, [*lost, *_lost(access)])


def _export_opaque(access: Access, target: Target) -> Export:
    identities: set[str] = set()
    lost = [*access.inexpressible]
    for rule in access.rules:
        if rule.is_open:
            lost.append(_closed(rule))
            continue
        terms, missed = terms_of(rule)
        identities |= {_identity(term) for term in terms}
        lost += missed
    lost.append(
        Inexpressible(
            "the contracts",
            "which methods there are",
            "the service's own TLS passes through",
            f"whoever may call one method gets in; {SERVICE_DECIDES} the others",
        )
    )
    policy = {
        "apiVersion": f"{LINKERD}/v1alpha1",
        "kind": "AuthorizationPolicy",
        "metadata": target.metadata(target.name),
        "spec": {
            "targetRef": {"group": LINKERD, "kind": "Server", "name": target.name},
            "requiredAuthenticationRefs": [{"group": LINKERD, "kind": "MeshTLSAuthentication", "name": target.name}],
        },
    }
    authentication = _authentication(target, target.name, _widest(identities))
    let_in = [authentication, policy] if identities else []
    return Export([_server(target, "opaque"), *let_in], [*lost, *_lost(access)])


def _closed(rule: Rule) -> Inexpressible:
    return Inexpressible(
        ", ".join(rule.paths),
        "that anybody may call them",
        "the service's own TLS passes through, and would let in anybody to all methods",
        "NARROWER than the service: whoever may call no other method does not get in",
    )


def _server(target: Target, protocol: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{LINKERD}/v1beta3",
        "kind": "Server",
        "metadata": target.metadata(target.name),
        "spec": {
            "podSelector": {"matchLabels": dict(target.selector)},
            "port": target.port,
            "proxyProtocol": protocol,
            "accessPolicy": "deny",
        },
    }


def _documents(rule: Rule, target: Target, name: str, identities: list[str]) -> Iterator[dict[str, Any]]:
    """Yield who may, and for each route of the rule, which are several only where it has very many methods."""
    yield _authentication(target, name, identities)
    for number, paths in enumerate(_chunks(rule.paths, MATCHES_OF_A_RULE * RULES_OF_A_ROUTE)):
        metadata = target.metadata(f"{name}-{number}" if number else name)
        yield _route(target, metadata, paths)
        yield {
            "apiVersion": f"{LINKERD}/v1alpha1",
            "kind": "AuthorizationPolicy",
            "metadata": metadata,
            "spec": {
                "targetRef": {"group": GATEWAY, "kind": "GRPCRoute", "name": metadata["name"]},
                "requiredAuthenticationRefs": [{"group": LINKERD, "kind": "MeshTLSAuthentication", "name": name}],
            },
        }


def _authentication(target: Target, name: str, identities: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": f"{LINKERD}/v1alpha1",
        "kind": "MeshTLSAuthentication",
        "metadata": target.metadata(name),
        "spec": {"identities": identities},
    }


def _route(target: Target, metadata: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    rules = [{"matches": [_match(path) for path in some]} for some in _chunks(paths, MATCHES_OF_A_RULE)]
    return {
        "apiVersion": f"{GATEWAY}/v1",
        "kind": "GRPCRoute",
        "metadata": metadata,
        "spec": {"parentRefs": [{"group": LINKERD, "kind": "Server", "name": target.name}], "rules": rules},
    }


def _match(path: str) -> dict[str, Any]:
    service, _, method = path[1:].rpartition("/")
    return {"method": {"type": "Exact", "service": service, "method": method}}


def _chunks(paths: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    rest = iter(paths)
    while some := tuple(islice(rest, size)):
        yield some


def _name(target: Target, rule: Rule, taken: set[str]) -> str:
    """Return a name that says what is asked, a new one each time."""
    said = resource_name(f"{target.name}-{rule.asked}")
    name, number = said, 1
    while name in taken:
        number += 1
        name = f"{said}-{number}"
    taken.add(name)
    return name


def _identity(term: Term) -> str:
    """Return the identity that says most of the workloads that a term names."""
    return max(map(_identity_of, term.workloads), key=len, default=ANY)


def _identity_of(workload: str) -> str:
    """Return the mesh identity of a workload; of a pattern, one that matches all of it, and maybe more."""
    account = _SERVICE_ACCOUNT.fullmatch(workload)
    if account is None:
        # workloads outside of Kubernetes are known by their SPIFFE ID
        return workload if workload.startswith("spiffe://") and "*" not in workload else ANY
    trust_domain, namespace, name = account.groups()
    end = f"serviceaccount.identity.linkerd.{trust_domain}"
    if "*" in namespace:
        return f"*.{end}"
    return f"*.{namespace}.{end}" if "*" in name else f"{name}.{namespace}.{end}"


def _widest(identities: set[str]) -> list[str]:
    return [ANY] if ANY in identities else sorted(identities)


def _lost(access: Access) -> Iterator[Inexpressible]:
    yield from lost_api_keys(access)
    for clause, place in access.places.items():
        yield from _lost_of(clause, place)


def _lost_of(clause: Clause, place: str) -> Iterator[Inexpressible]:
    workload = clause.workload
    if clause.issuer:
        kind = "user" if clause.subject else "group"
        by = f"the workload {workload}" if workload else "any workload of the mesh"
        yield Inexpressible(
            place,
            f"the {kind} {clause.subject or clause.group} of {clause.issuer}",
            "Linkerd looks at no token",
            f"exported for {by}; {SERVICE_DECIDES} other users",
        )
    else:
        yield Inexpressible(
            place,
            f"that {workload} is given this for calls without a token",
            "Linkerd looks at no token",
            f"exported for all its calls; {SERVICE_DECIDES} those of users who lack it",
        )
    if workload and ("*" in workload or _identity_of(workload) == ANY):
        identity = _identity_of(workload)
        meant = "any workload of the mesh" if identity == ANY else identity
        if not _is_exact(workload, identity):
            yield Inexpressible(
                place,
                f"the workload {workload}",
                "Linkerd knows service accounts, and a star for the first parts of a name",
                f"exported as {meant}; {SERVICE_DECIDES} the rest",
            )


def _is_exact(workload: str, identity: str) -> bool:
    """Tell whether a pattern says no more than its identity: all service accounts of one namespace."""
    account = _SERVICE_ACCOUNT.fullmatch(workload)
    return account is not None and account[3] == "*" and "*" not in account[2] and identity != ANY
