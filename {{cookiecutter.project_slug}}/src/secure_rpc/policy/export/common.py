"""Who may call which method, in a form that the rules of a mesh can be written from, and what gets lost on the way.

What a mesh cannot say is never dropped in silence: it is listed, and the exported rule is the wider one. The mesh
stands before the service, whose engine decides for good; one that was narrower would refuse calls that are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from secure_rpc.call import Contract
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.entries import NEVER, Entry, entries_of

API_KEY_ISSUER = "api-key"  # what the policy calls the issuer of API keys
API_KEY_HEADER = "x-api-key"
MAX_NAME_CHARACTERS = 200  # of 253, so that something can be added
# Schemes are case-insensitive (RFC 9110, section 11.1), the prefixes that proxies look for are not
SCHEMES = ("Bearer ", "bearer ", "BEARER ")
SERVICE_DECIDES = "the service still refuses"


class TokenIssuer(NamedTuple):
    """An authority whose tokens are taken, as a mesh has to know it."""

    issuer: str  # the `iss` claim
    audiences: tuple[str, ...]  # one of them must be in `aud`
    jwks_url: str = ""
    jwks_file: str = ""
    jwks: str = ""  # what that file holds, for meshes that want the keys themselves
    subject_claim: str = "sub"
    groups_claim: str = "groups"
    leeway_seconds: float = 30.0
    timeout_seconds: float = 3.0  # of fetching its keys
    refresh_seconds: float = 300.0
    ca_file: str = ""  # of its server; "" for the CAs of the system
    opaque_tokens: bool = False  # whether it also gives tokens that are no JWTs
    further_checks: tuple[str, ...] = ()  # of its tokens, that the service makes and no mesh does


class Clause(NamedTuple):
    """A description of principals: all that it names must be so; a workload alone speaks of calls without a token."""

    issuer: str = ""
    subject: str = ""
    group: str = ""
    workload: str = ""


class Rule(NamedTuple):
    """Methods that ask for the same, and who is given that."""

    asked: str  # in words, such as "orders.read"
    paths: tuple[str, ...]
    needs: tuple[tuple[Clause, ...], ...]  # of each, one clause must fit
    public: bool = False  # then nothing is needed
    any_caller: bool = False  # nothing of the policy is needed

    @property
    def is_open(self) -> bool:
        """Tell whether a mesh lets everybody in whom it knows."""
        return self.public or self.any_caller


class Inexpressible(NamedTuple):
    """Something that contracts or policy say and the rules of a mesh do not."""

    place: str  # "policy.yaml:42", a method's path, or a setting
    what: str
    why: str
    exported: str  # what the exported rules say instead

    def __str__(self) -> str:
        """Return it as a line of text, whatever a policy's author has put into it."""
        line = f"{self.place}: {self.what}: {self.why}; {self.exported}"
        return " ".join("".join(character if character.isprintable() else " " for character in line).split())


class Access(NamedTuple):
    """All that is exported."""

    rules: tuple[Rule, ...]
    closed: tuple[str, ...]  # methods that nobody may call
    issuers: tuple[TokenIssuer, ...]
    api_keys: bool  # whether a call may come with one
    places: Mapping[Clause, str]
    inexpressible: tuple[Inexpressible, ...]  # in any mesh


def resource_name(text: str) -> str:
    """Return a text as a name in Kubernetes (RFC 1123, section 2.1)."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())[:MAX_NAME_CHARACTERS].strip("-.") or "service"


class Export(NamedTuple):
    """The rules of a mesh as plain data, and what they do not say."""

    documents: list[dict[str, Any]]
    inexpressible: list[Inexpressible]


class Target(NamedTuple):
    """The pods that rules are for."""

    name: str  # of the service; the documents' names begin with it
    selector: Mapping[str, str]  # labels
    namespace: str = ""  # "" for that of whoever applies them
    port: int = 50051

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata of a document with this name."""
        return {"name": name} | ({"namespace": self.namespace} if self.namespace else {})


def access_of(
    document: PolicyDocument,
    contracts: Mapping[str, Contract],
    issuers: Iterable[TokenIssuer],
    *,
    now_seconds: float,
    api_keys: bool = False,
) -> Access:
    """Return who may call which method.

    Args:
        document: the policy.
        contracts: what methods ask for, by "/package.Service/Method".
        issuers: whose tokens are taken.
        now_seconds: Unix time; what bindings gave that have ended by then is left out.
        api_keys: whether a call may come with an API key.
    """
    entries = [entry for entry in entries_of(document) if entry.expires_at_seconds > now_seconds]
    given: dict[str, set[Clause]] = {}
    for entry in entries:
        for permission in entry.permissions:
            given.setdefault(permission, set()).add(_clause(entry))
    by_asked: dict[tuple[bool, bool, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for path, contract in sorted(contracts.items()):
        every, any_of = (tuple(sorted(names)) for names in (contract.permissions, contract.any_permissions))
        asked = contract.public, contract.any_caller, every, any_of
        by_asked.setdefault(asked, []).append(path)
    rules = [
        Rule(
            _in_words(every, any_of, public=public, any_caller=any_caller),
            tuple(paths),
            _needs(every, any_of, given),
            public,
            any_caller,
        )
        for (public, any_caller, every, any_of), paths in by_asked.items()
    ]
    issuers = tuple(issuers)
    wanted = frozenset(
        name for contract in contracts.values() for name in contract.permissions + contract.any_permissions
    )
    lost = [
        *_lost_of_bindings(entry for entry in entries if not wanted.isdisjoint(entry.permissions)),
        *_lost_of_methods(contracts),
        *_lost_of_issuers(issuers),
    ]
    is_open = {rule: rule.is_open or (bool(rule.needs) and all(rule.needs)) for rule in rules}
    return Access(
        rules=tuple(rule for rule in rules if is_open[rule]),
        closed=tuple(sorted(path for rule in rules if not is_open[rule] for path in rule.paths)),
        issuers=issuers,
        api_keys=api_keys,
        places={_clause(entry): entry.place for entry in reversed(entries)},
        inexpressible=tuple(lost),
    )


def claim_paths(name: str) -> list[tuple[str, ...]]:
    """Return where a claim may stand: a dot goes into a nested claim, but a claim may have it in its own name too."""
    return [(name,)] if "." not in name else [(name,), tuple(name.split("."))]


def lost_api_keys(access: Access) -> Iterator[Inexpressible]:
    """Yield what is lost of each entry that names users of API keys: the keys are known to the service alone."""
    for clause, place in access.places.items():
        if clause.issuer == API_KEY_ISSUER:
            yield Inexpressible(
                place,
                f"the {'user' if clause.subject else 'group'} {clause.subject or clause.group} of API keys",
                "only the service knows the keys",
                f"whoever sends some {API_KEY_HEADER} passes; {SERVICE_DECIDES} what is no key of theirs",
            )


def _clause(entry: Entry) -> Clause:
    return Clause(entry.issuer, entry.subject, entry.group, entry.workload)


def _in_words(every: tuple[str, ...], any_of: tuple[str, ...], *, public: bool, any_caller: bool) -> str:
    if public or any_caller:
        return "public" if public else "any caller"
    one_of = f"one of {', '.join(any_of)}" if any_of else ""
    return " and ".join(part for part in (*every, one_of) if part) or "no permission"


def _needs(
    every: tuple[str, ...], any_of: tuple[str, ...], given: Mapping[str, set[Clause]]
) -> tuple[tuple[Clause, ...], ...]:
    """Return what has to fit, without what is said by the rest: who fits the smaller set fits the larger."""
    needs = [frozenset(given.get(permission, ())) for permission in every]
    if any_of:
        needs.append(frozenset().union(*(given.get(permission, ()) for permission in any_of)))
    needs = list(dict.fromkeys(needs))
    least = [need for need in needs if not any(other < need for other in needs)]
    return tuple(tuple(sorted(need)) for need in least)


def _lost_of_bindings(entries: Iterable[Entry]) -> Iterator[Inexpressible]:
    seen: set[str] = set()
    for entry in entries:
        if entry.rule in seen:
            continue
        seen.add(entry.rule)
        if entry.condition:
            yield Inexpressible(
                entry.place,
                f"the condition of {entry.rule}, {entry.condition}",
                "no mesh evaluates it",
                f"exported without it; {SERVICE_DECIDES} where it does not hold",
            )
        if entry.expires_at_seconds != NEVER:
            ends = f"{datetime.fromtimestamp(entry.expires_at_seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
            yield Inexpressible(
                entry.place,
                f"{entry.rule} ends at {ends}",
                "rules of a mesh have no end",
                f"exported as long as it lasts; {SERVICE_DECIDES} after that, but export again then",
            )
        if entry.own_tenants or entry.tenants is not None:
            tenants = "own tenants" if entry.own_tenants else f"tenants {', '.join(sorted(entry.tenants or ()))}"
            yield Inexpressible(
                entry.place,
                f"{entry.rule} is for {tenants} only",
                "the tenant stands in the message",
                f"exported for all tenants; {SERVICE_DECIDES} those of others",
            )


def _lost_of_methods(contracts: Mapping[str, Contract]) -> Iterator[Inexpressible]:
    for path, contract in sorted(contracts.items()):
        if contract.any_caller:
            yield Inexpressible(
                path,
                "any caller whose identity is verified",
                "a mesh does not know which credentials that takes",
                f"exported for whomever the mesh lets in; {SERVICE_DECIDES} who shows too little",
            )
        if contract.replay_protected:
            yield Inexpressible(
                path,
                "each call may be made once",
                "no mesh remembers nonces",
                f"exported without it; {SERVICE_DECIDES} what comes again",
            )
    yield Inexpressible(
        "settings: quotas",
        "how often a caller may call",
        "quotas are counted by principal",
        f"exported without them; {SERVICE_DECIDES} what is too much",
    )


def _lost_of_issuers(issuers: Iterable[TokenIssuer]) -> Iterator[Inexpressible]:
    for issuer in issuers:
        if issuer.further_checks:
            yield Inexpressible(
                "settings: authentication.issuers",
                f"further checks of tokens of {issuer.issuer} ({', '.join(issuer.further_checks)})",
                "no mesh makes them",
                f"exported without them; {SERVICE_DECIDES} tokens that fail them",
            )
