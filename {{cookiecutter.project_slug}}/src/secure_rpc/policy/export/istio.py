"""Rules for Istio: a RequestAuthentication, which verifies tokens, and an AuthorizationPolicy with all that is allowed.

Field names are those of security.istio.io/v1. A star at either end of a value is a pattern to Istio, and cannot be
escaped: names of principals that have one there come out wider, and are listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from secure_rpc.policy.export.common import (
    API_KEY_HEADER,
    API_KEY_ISSUER,
    SCHEMES,
    SERVICE_DECIDES,
    Access,
    Clause,
    Export,
    Inexpressible,
    Rule,
    Target,
    TokenIssuer,
    claim_paths,
    lost_api_keys,
)
from secure_rpc.policy.export.terms import Term, terms_of

VERSION = "security.istio.io/v1"
ANY = "*"  # any value, but not none
MAX_LEEWAY_SECONDS = 60.0  # what Istio allows, and nobody can change
TOKEN_HEADER = "request.headers[authorization]"  # noqa: S105  # the name of an attribute
API_KEY = f"request.headers[{API_KEY_HEADER}]"

Values = tuple[str, ...]


class _Line(NamedTuple):
    """A rule in the making; lines that differ in `merged` alone become one."""

    principals: Values
    users: Values  # "issuer/subject"
    without_token: bool
    conditions: tuple[tuple[str, str, Values], ...]  # attribute, "values" or "notValues", and these
    merged: str  # where the values of `value` go: "principals", "users", or an attribute
    value: Values = ()

    def source(self) -> dict[str, Any]:
        """Return what the rule says of where a call comes from."""
        found: dict[str, Any] = {}
        if self.principals:
            found["principals"] = list(self.principals)
        if self.users:
            found["requestPrincipals"] = list(self.users)
        if self.without_token:
            found["notRequestPrincipals"] = [ANY]
        return found

    def rule(self, paths: Values) -> dict[str, Any]:
        """Return the finished rule, for these methods."""
        made: dict[str, Any] = {}
        if source := self.source():
            made["from"] = [{"source": source}]
        made["to"] = [{"operation": {"paths": list(paths)}}]
        if self.conditions:
            made["when"] = [{"key": key, kind: list(values)} for key, kind, values in self.conditions]
        return made


def export(access: Access, target: Target) -> Export:
    """Return the documents for the pods of a service; what no rule allows is denied, on each of their ports."""
    writer = _Writer(access)
    rules: list[dict[str, Any]] = []
    lost = [*access.inexpressible]
    for rule in access.rules:
        made, missed = writer.rules(rule)
        rules += made
        lost += missed
    selector = {"matchLabels": dict(target.selector)}
    policy = {
        "apiVersion": VERSION,
        "kind": "AuthorizationPolicy",
        "metadata": target.metadata(f"{target.name}-policy"),
        "spec": {"selector": selector, "action": "ALLOW", "rules": rules},
    }
    documents = [policy]
    if access.issuers and not writer.opaque:
        tokens = {
            "apiVersion": VERSION,
            "kind": "RequestAuthentication",
            "metadata": target.metadata(f"{target.name}-tokens"),
            "spec": {"selector": selector, "jwtRules": [_jwt_rule(issuer) for issuer in access.issuers]},
        }
        documents.insert(0, tokens)
    return Export(documents, [*lost, *_lost(access)])


class _Writer:
    """Write rules for one set of issuers."""

    def __init__(self, access: Access) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in access.issuers}
        self._api_keys = access.api_keys
        # A RequestAuthentication ends calls with a token that is no JWT, so with such tokens there can be none
        self.opaque = any(issuer.opaque_tokens for issuer in access.issuers)

    def rules(self, rule: Rule) -> tuple[list[dict[str, Any]], tuple[Inexpressible, ...]]:
        """Return the rules for methods that ask for the same, and what they do not say."""
        if rule.is_open:
            return [_Line((), (), without_token=False, conditions=(), merged="").rule(rule.paths)], ()
        terms, lost = terms_of(rule)
        merged: dict[_Line, dict[str, None]] = {}
        for term in terms:
            for line in self._lines(term):
                merged.setdefault(line._replace(value=()), {}).update(dict.fromkeys(line.value))
        return [_finished(line, tuple(values)).rule(rule.paths) for line, values in merged.items()], lost

    def _lines(self, term: Term) -> Iterator[_Line]:
        principals = _principals(term)
        if term.issuer == API_KEY_ISSUER:
            yield _Line(principals, (), without_token=False, conditions=((API_KEY, "values", (ANY,)),), merged="")
        elif not term.issuer:
            no_key = ((API_KEY, "notValues", (ANY,)),) if self._api_keys else ()
            no_token = ((TOKEN_HEADER, "notValues", (ANY,)),) if self.opaque else ()
            yield _Line((), (), not self.opaque, (*no_token, *no_key), "principals" if principals else "", principals)
        elif self.opaque:
            yield _Line(principals, (), without_token=False, conditions=((TOKEN_HEADER, "values", (ANY,)),), merged="")
        else:
            yield from self._user(term, principals)

    def _user(self, term: Term, principals: Values) -> Iterator[_Line]:
        issuer = self._issuers.get(term.issuer) or TokenIssuer(term.issuer, ())
        of_issuer = ("request.auth.claims[iss]", "values", (term.issuer,))
        groups = sorted(term.groups)
        if not term.subject and len(groups) == 1:
            for key in _claims(issuer.groups_claim):
                yield _Line(
                    principals, (), without_token=False, conditions=(of_issuer,), merged=key, value=(groups[0],)
                )
            return
        by_principal = bool(term.subject) and issuer.subject_claim == "sub"
        users = (f"{term.issuer}/{term.subject}",) if by_principal else ()
        for subject in _claims(issuer.subject_claim) if term.subject and not by_principal else [""]:
            for key in _claims(issuer.groups_claim) if groups else [""]:
                named = [(subject, "values", (term.subject,))] if subject else []
                named += [(key, "values", (group,)) for group in groups]
                merged = "users" if users else ""
                conditions = (of_issuer, *named)
                yield _Line(principals, (), without_token=False, conditions=conditions, merged=merged, value=users)


def _finished(line: _Line, values: Values) -> _Line:
    if line.merged == "principals":
        return line._replace(principals=values)
    if line.merged == "users":
        return line._replace(users=values)
    if line.merged:
        return line._replace(conditions=(*line.conditions, (line.merged, "values", values)))
    return line


def _claims(name: str) -> list[str]:
    return ["request.auth.claims" + "".join(f"[{part}]" for part in path) for path in claim_paths(name)]


def _principals(term: Term) -> Values:
    """Return the one value that says most of the workloads that a term names; "" where Istio knows no such names."""
    known = sorted(name for name in term.workloads if name.startswith("spiffe://"))
    if not known:
        return ()
    longest = max((name.removeprefix("spiffe://") for name in known), key=lambda name: len(name.partition("*")[0]))
    start, star, _ = longest.partition("*")
    return (f"{start}{star}",)


def _jwt_rule(issuer: TokenIssuer) -> dict[str, Any]:
    keys = {"jwksUri": issuer.jwks_url} if issuer.jwks_url else {"jwks": issuer.jwks}
    return {
        "issuer": issuer.issuer,
        "audiences": list(issuer.audiences),
        **keys,
        "fromHeaders": [{"name": "authorization", "prefix": scheme} for scheme in SCHEMES],
        "forwardOriginalToken": True,  # the service verifies it again
    }


def _lost(access: Access) -> Iterator[Inexpressible]:
    yield from lost_api_keys(access)
    if opaque := [issuer.issuer for issuer in access.issuers if issuer.opaque_tokens]:
        yield Inexpressible(
            "settings: authentication.issuers",
            f"opaque tokens of {', '.join(opaque)}",
            "a RequestAuthentication would end calls that carry one",
            f"none is exported, so whoever sends some token passes as any user; {SERVICE_DECIDES} what is none",
        )
    elif access.issuers and any(rule.public for rule in access.rules):
        yield Inexpressible(
            "settings: authorization.contracts",
            "that nobody looks at a token that comes with a call of a public method",
            "a RequestAuthentication ends calls that carry a bad one, whatever they are for",
            "NARROWER than the service: call public methods without a token",
        )
    for issuer in access.issuers:
        if issuer.leeway_seconds > MAX_LEEWAY_SECONDS:
            yield Inexpressible(
                "settings: authentication.issuers",
                f"that tokens of {issuer.issuer} are taken {issuer.leeway_seconds:g} s after their end",
                f"Istio takes them for {MAX_LEEWAY_SECONDS:g} s, and nobody can change that",
                "NARROWER than the service: calls with older ones end here",
            )
    for clause, place in access.places.items():
        yield from _lost_of(clause, place)


def _lost_of(clause: Clause, place: str) -> Iterator[Inexpressible]:
    workload = clause.workload
    if workload and not workload.startswith("spiffe://"):
        yield Inexpressible(
            place,
            f"the certificate name {workload}",
            "Istio knows workloads by SPIFFE ID only",
            f"exported for any workload; {SERVICE_DECIDES} others",
        )
    elif "*" in workload:
        yield Inexpressible(
            place,
            f"the pattern {workload}",
            "a star stands at the end of a value in Istio, for any characters",
            f"exported as all that begins with {workload.partition('*')[0]}; {SERVICE_DECIDES} the rest",
        )
    for kind, name in (("subject", clause.subject), ("group", clause.group)):
        if clause.issuer != API_KEY_ISSUER and "*" in {name[:1], name[-1:]}:
            yield Inexpressible(
                place,
                f"the {kind} {name}",
                "a star at either end of a value is a pattern to Istio",
                f"exported as that pattern; {SERVICE_DECIDES} others that it matches",
            )
