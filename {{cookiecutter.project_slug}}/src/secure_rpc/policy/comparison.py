"""What two policies do not have in common: who gains and who loses what, in permissions and in methods.

What is compared is what bindings give, not how they are written: a role that is split, a binding that is divided or
one that another covers makes no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from secure_rpc.call import Method
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.entries import Entry, entries_of
from secure_rpc.policy.questions import display_names
from secure_rpc.policy.reach import Callers, Reach, Scope, Wanted, reaches, time_in_words, wanted_by

MAX_MARKDOWN_CHARACTERS = 60_000  # a comment on GitHub has at most 65,536
MAX_CELL_CHARACTERS = 300  # before it is escaped
_MARKDOWN = {character: f"&#{ord(character)};" for character in "\\`*_[]#|~@:$"}


class Change(NamedTuple):
    """What somebody gains or loses."""

    gains: bool
    who: str
    permissions: tuple[str, ...]
    methods: tuple[str, ...]
    tenants: str  # in words
    conditions: tuple[str, ...]
    expires: str  # "" for never
    beside: tuple[str, ...] = ()  # for whom, and until when, they have the same in the policy that gives less

    def __str__(self) -> str:
        """Return it as a sentence."""
        said = [f"{self.who} {'gains' if self.gains else 'loses'} {', '.join(self.permissions) or 'no permission'}"]
        said.append(f"for {self.whose}")
        said.append(f"(methods: {', '.join(self.methods) or 'none'})")
        return " ".join(said)

    @property
    def whose(self) -> str:
        """Return for whose data, and what it hangs on."""
        said = self.tenants + _limits(self.conditions, self.expires)
        if not self.beside:
            return said
        return f"{said}; {'before' if self.gains else 'still'} for {' and for '.join(self.beside)}"


class _Target(NamedTuple):
    """What can be gained or lost."""

    name: str
    wanted: Wanted
    of_tenants: bool


class _Key(NamedTuple):
    """What one change is about, whatever is gained or lost."""

    gains: bool
    callers: Callers
    own: bool
    conditions: tuple[str, ...]
    expires_at_seconds: float
    beside: tuple[str, ...]


def compare(before: PolicyDocument, after: PolicyDocument, methods: Sequence[Method]) -> list[Change]:
    """Return what is lost, then what is gained.

    Args:
        before: the policy that is left.
        after: the policy that comes.
        methods: of the service.
    """
    old, new = list(entries_of(before)), list(entries_of(after))
    gathered: dict[tuple[_Key, str | None], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    given = {permission for entry in [*old, *new] for permission in entry.permissions}
    for kind, targets in enumerate((_permissions(given, methods), _methods(methods))):
        for target in targets:
            for key, tenant in _changes(old, new, target):
                gathered[key, tenant][kind].add(target.name)
    return _together(gathered)


def _permissions(names: Iterable[str], methods: Sequence[Method]) -> Iterator[_Target]:
    """Yield permissions; for whom one is counts where a method that asks for it, or none that is known, has tenants."""
    contracts = [method.contract for method in methods]
    for name in sorted(names):
        asking = [contract for contract in contracts if name in contract.permissions + contract.any_permissions]
        of_tenants = not asking or any(contract.tenant_field for contract in asking)
        yield _Target(name, [frozenset({name})], of_tenants)


def _methods(methods: Sequence[Method]) -> Iterator[_Target]:
    names = display_names(methods)
    for method in methods:
        if method.contract.is_guarded:
            yield _Target(names[method.path], wanted_by(method.contract), bool(method.contract.tenant_field))


def _changes(old: Iterable[Entry], new: Iterable[Entry], target: _Target) -> Iterator[tuple[_Key, str | None]]:
    before, after = (
        _by_callers(reaches(entries, target.wanted, of_tenants=target.of_tenants)) for entries in (old, new)
    )
    for gains, mine, others in ((False, before, after), (True, after, before)):
        for callers, given in mine.items():
            beside = tuple(sorted(_in_words(others.get(callers, ()))))
            for reach in given:
                if not any(other.covers(reach) for other in others.get(callers, ())):
                    [tenant] = reach.scope.listed or (None,)
                    conditions = tuple(sorted(reach.conditions))
                    key = _Key(gains, callers, reach.scope.own, conditions, reach.expires_at_seconds, beside)
                    yield key, tenant


def _by_callers(found: Iterable[Reach]) -> dict[Callers, set[Reach]]:
    """Return what each is given, tenant by tenant, however many bindings it is spread over."""
    given: dict[Callers, set[Reach]] = defaultdict(set)
    for reach in found:
        own, listed = reach.scope
        scopes = [reach.scope] if listed is None else [Scope(own, frozenset({tenant})) for tenant in listed]
        given[reach.callers].update(reach._replace(scope=scope, rules=frozenset()) for scope in scopes)
    return {
        callers: {one for one in several if not any(other is not one and other.covers(one) for other in several)}
        for callers, several in given.items()
    }


def _together(gathered: dict[tuple[_Key, str | None], tuple[set[str], set[str]]]) -> list[Change]:
    tenants: dict[tuple[_Key, bool, tuple[str, ...], tuple[str, ...]], set[str]] = defaultdict(set)
    for (key, tenant), (permissions, methods) in gathered.items():
        names = tenants[key, tenant is None, tuple(sorted(permissions)), tuple(sorted(methods))]
        names.update(() if tenant is None else {tenant})
    found = [
        Change(
            key.gains,
            str(key.callers),
            permissions,
            methods,
            str(Scope(key.own, None if everything else frozenset(listed))),
            key.conditions,
            time_in_words(key.expires_at_seconds),
            key.beside,
        )
        for (key, everything, permissions, methods), listed in tenants.items()
    ]
    return sorted(found)


def _in_words(given: Iterable[Reach]) -> Iterator[str]:
    """Yield for whose data something is given, and what that hangs on."""
    tenants: dict[tuple[bool, bool, tuple[str, ...], float], set[str]] = defaultdict(set)
    for reach in given:
        own, listed = reach.scope
        tenants[own, listed is None, tuple(sorted(reach.conditions)), reach.expires_at_seconds] |= listed or set()
    for (own, everything, conditions, expires_at_seconds), names in tenants.items():
        scope = Scope(own, None if everything else frozenset(names))
        yield f"{scope}{_limits(conditions, time_in_words(expires_at_seconds))}"


def _limits(conditions: Iterable[str], expires: str) -> str:
    """Return what a grant hangs on, as the end of a sentence."""
    said = "".join(f", if {condition}" for condition in conditions)
    return said + (f", until {expires}" if expires else "")


def markdown(changes: Sequence[Change], before: str, after: str) -> str:
    """Return changes for a comment on a pull request: a table of bounded length that nobody is called by.

    Args:
        changes: what to tell.
        before: what to call the policy that is left.
        after: what to call the one that comes.
    """
    title = f"### Policy: {_code(before)} → {_code(after)}"
    if not changes:
        return f"{title}\n\nNobody gains and nobody loses anything.\n"
    gains = sum(change.gains for change in changes)
    lines = [title, "", f"{gains} gained, {len(changes) - gains} lost.", ""]
    lines += ["| | who | permissions | methods | for whose data |", "|---|---|---|---|---|"]
    room = MAX_MARKDOWN_CHARACTERS
    for number, change in enumerate(changes):
        row = _row(change)
        room -= len(row) + 1
        if room < 0:
            lines += ["", f"And {len(changes) - number} more: `policy diff` shows them all."]
            break
        lines.append(row)
    return "\n".join(lines) + "\n"


def _row(change: Change) -> str:
    cells = [
        "**gains**" if change.gains else "**loses**",
        _code(change.who),
        _code(", ".join(change.permissions)),
        _code(", ".join(change.methods)),
        _code(change.whose),
    ]
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Return text that means nothing to Markdown, and mentions nobody: no forge looks for names in code."""
    if not text:
        return ""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    short = printable if len(printable) <= MAX_CELL_CHARACTERS else printable[: MAX_CELL_CHARACTERS - 3] + "..."
    escaped = "".join(_MARKDOWN.get(character) or escape(character) for character in short)
    return f"<code>{escaped}</code>"
