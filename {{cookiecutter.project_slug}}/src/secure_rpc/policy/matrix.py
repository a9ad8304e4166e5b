"""Principals by methods: who may, who may not, and what it depends on; as data, and as a page that stands by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from html import escape
from typing import NamedTuple

from secure_rpc.call import Method, Principal
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import Decision, Engine
from secure_rpc.policy.entries import Entry, entries_of
from secure_rpc.policy.questions import display_names
from secure_rpc.policy.reach import time_in_words


class Verdict(Enum):
    """What the policy says of a principal and a method; the sign says the same as the colour."""

    ALLOW = "allow"
    DENY = "deny"
    DEPENDS = "depends"

    @property
    def sign(self) -> str:
        """Return a sign for it."""
        return {"allow": "✓", "deny": "✗", "depends": "◐"}[self.value]


class Cell(NamedTuple):
    """What the policy says, and on what that depends."""

    verdict: Verdict
    depends: str = ""

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.verdict.sign} {self.verdict.value}" + (f": {self.depends}" if self.depends else "")


class Matrix(NamedTuple):
    """What the policy says of some principals and all methods."""

    version: str
    now_seconds: float
    methods: tuple[str, ...]
    rows: Mapping[str, tuple[Cell, ...]]  # by principal


def matrix(
    document: PolicyDocument,
    conditions: Conditions,
    principals: Mapping[str, Principal],
    methods: Sequence[Method],
    now_seconds: float,
) -> Matrix:
    """Return what a policy says of principals and methods.

    Args:
        document: the policy.
        conditions: of the service.
        principals: by name.
        methods: the columns.
        now_seconds: the Unix time at which it is asked; what has ended by then gives nothing.
    """
    entries = list(entries_of(document))
    sure = _engine(document, conditions, (entry for entry in entries if not entry.condition), now_seconds)
    most = _engine(document, conditions, (entry._replace(condition="") for entry in entries), now_seconds)
    rows = {
        name: tuple(_cell(principal, method, sure, most) for method in methods)
        for name, principal in principals.items()
    }
    names = display_names(methods)
    return Matrix(document.version, now_seconds, tuple(names[method.path] for method in methods), rows)


def _engine(document: PolicyDocument, conditions: Conditions, entries: Iterable[Entry], now_seconds: float) -> Engine:
    engine = Engine(document.version, conditions, clock=lambda: now_seconds)
    engine.add(entries)
    return engine


def _cell(principal: Principal, method: Method, sure: Engine, most: Engine) -> Cell:
    """Return what holds whatever conditions say, else that it depends on them."""
    contract = method.contract
    if not contract.is_guarded:
        return Cell(Verdict.ALLOW, "public" if contract.public else "any caller")
    at_least, at_most = sure.decide(principal, method), most.decide(principal, method)
    has_tenant = bool(contract.tenant_field)
    if not at_most.allowed or (has_tenant and at_most.tenants == frozenset()):
        return Cell(Verdict.DENY)
    on_condition = not at_least.allowed or (has_tenant and at_least.tenants != at_most.tenants)
    if not has_tenant:
        return Cell(Verdict.DEPENDS, f"on {at_most.rule}'s condition") if on_condition else Cell(Verdict.ALLOW)
    if not on_condition:
        if at_least.tenants is None:
            return Cell(Verdict.ALLOW, "all tenants")
        return Cell(Verdict.DEPENDS, _tenants(at_least))
    said = f"{_tenants(at_most)}, on conditions"
    if at_least.allowed and at_least.tenants:
        said += f"; {_tenants(at_least)} always"
    return Cell(Verdict.DEPENDS, said)


def _tenants(decision: Decision) -> str:
    if decision.tenants is None:
        return "all tenants"
    return f"tenant{'s' if len(decision.tenants) > 1 else ''} {', '.join(sorted(decision.tenants))}"


_STYLE = """
html { color-scheme: light dark }
:root { --line: #767676; --allow: #d8f0dc; --deny: #f6dcdc; --depends: #fbeec8; --text: #1a1a1a }
@media (prefers-color-scheme: dark) {
  :root { --line: #8a8a8a; --allow: #17401f; --deny: #511b1b; --depends: #4a3a06; --text: #f2f2f2 }
}
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem; color: var(--text) }
.wide { overflow-x: auto }
table { border-collapse: collapse }
caption { text-align: start; padding-block: .5rem }
th, td { border: 1px solid var(--line); padding: .4rem .7rem; text-align: start; vertical-align: top }
td.allow { background: var(--allow) } td.deny { background: var(--deny) } td.depends { background: var(--depends) }
""".strip()


def html(found: Matrix, service: str) -> str:
    """Return the page.

    Args:
        found: what it shows.
        service: whose policy it is.
    """
    title = f"Who may call what: {service}"
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in found.methods)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_html_cell, cells))}</tr>'
        for name, cells in found.rows.items()
    )
    signs = ", ".join(
        f"{verdict.sign} {said}"
        for verdict, said in (
            (Verdict.ALLOW, "allowed"),
            (Verdict.DENY, "denied"),
            (Verdict.DEPENDS, "depends on the tenant or on a condition, as it says"),
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>Policy {escape(found.version)}, at {escape(time_in_words(float(int(found.now_seconds))))}.</p>
<p>{escape(signs)}.</p>
<div class="wide" role="region" aria-labelledby="table" tabindex="0">
<table>
<caption id="table">Principals of the policy's tests, and the methods of the service</caption>
<thead>
<tr><th scope="col">principal</th>{head}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
</main>
</body>
</html>
"""


def _html_cell(cell: Cell) -> str:
    sign = f'<span aria-hidden="true">{cell.verdict.sign}</span> '
    said = cell.verdict.value + (f": {cell.depends}" if cell.depends else "")
    return f'<td class="{cell.verdict.value}">{sign}{escape(said)}</td>'
