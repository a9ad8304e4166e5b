"""`policy explain` and `policy who-can`: why a call is allowed or not, and to whom it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from secure_rpc.call import Method, Principal
from secure_rpc.cli.ground import Ground
from secure_rpc.cli.telling import count, say
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.dev.authority import client_request
from secure_rpc.dev.issuer import Caller, load_callers
from secure_rpc.policy.conditions import Asked
from secure_rpc.policy.explaining import Explanation, Near
from secure_rpc.policy.reach import Reach, time_in_words

MAX_NEAR = 10  # bindings that are shown


def principal_named(name: str, ground: Ground, cases: Path | None, callers: Path) -> Principal:
    """Return a principal of the table of cases, else a caller of development.

    Raises:
        ConfigurationError: neither has that name.
    """
    known: dict[str, Principal] = {}
    if callers.exists():
        known |= {who: _developer(caller, ground) for who, caller in load_callers(callers).items()}
    if cases is not None or ground.cases_file.exists():
        known |= ground.cases(cases).principals()
    if name not in known:
        raise ConfigurationError(
            f'neither {cases or ground.cases_file} nor {callers} names "{name}"; {did_you_mean(name, known)}'
        )
    return known[name]


def _developer(caller: Caller, ground: Ground) -> Principal:
    """Return a caller as the server of a developer's machine knows it."""
    authentication = ground.settings.authentication
    return Principal(
        workload=client_request("developer", authentication.trust_domain).uris[0],
        issuer=authentication.issuers[0].issuer if authentication.issuers else "",
        subject=caller.subject,
        tenants=frozenset(caller.tenants),
        groups=frozenset(caller.groups),
        proofs=("certificate", "token"),
    )


def tell(found: Explanation, asked: Asked, tenant: str) -> None:
    """Print an explanation."""
    for_tenant = f" for {tenant}" if tenant else ""
    contract, decision = asked.method.contract, found.decision
    depends = [near.depends for near in found.near if near.depends and not near.obstacles]
    verdict = "ALLOWED" if found.allowed else "DENIED"
    if found.allowed and decision is not None and decision.per_message and asked.request is None:
        verdict = "DEPENDS"
    say(f"{verdict}: {asked.method.path}{for_tenant}", style="bold")
    say(f"  called by {asked.principal}")
    if decision is None:
        say("  the method is public: everybody with a trusted certificate may call it")
        return
    say(f"  {'allowed by' if found.allowed else 'because'}: {found.rule}")
    if contract.any_caller:
        return
    if found.allowed and contract.tenant_field and not tenant:
        whose = "all tenants" if decision.tenants is None else ", ".join(sorted(decision.tenants)) or "no tenant at all"
        say(f"  for the data of {whose}")
    quota_class = contract.quota_class or "default"
    if found.allowed and (quota := decision.quotas.get(quota_class)):
        say(f'  quota "{quota_class}" by the policy: {quota}')
    say(*(f"  depends {text} (give one by --request)" for text in dict.fromkeys(depends)))
    say("what the method asks for:", *(f"  {' or '.join(sorted(one))}" for one in found.wanted))
    say("which bindings give that:")
    say(*(_line(near) for near in found.near[:MAX_NEAR]) if found.near else ["  none, to nobody"])
    if len(found.near) > MAX_NEAR:
        say(f"  and {count(len(found.near) - MAX_NEAR, 'more description')} that are further off")


def _line(near: Near) -> str:
    entry = near.entry
    said = "; ".join(near.obstacles) or (f"depends {near.depends}" if near.depends else "applies")
    return f"  {entry.place}: {entry.rule}: {said}"


def tell_reach(method: Method, given: Sequence[Reach], tenant: str, now_seconds: float) -> None:
    """Print who may call a method."""
    if method.contract.public:
        say(f"{method.path} is public: everybody with a trusted certificate may call it")
        return
    if method.contract.any_caller:
        say(f"{method.path} is open to any caller whose identity is verified")
        return
    lasting = [reach for reach in given if reach.expires_at_seconds > now_seconds]
    limited = bool(tenant and method.contract.tenant_field)
    shown = [reach for reach in lasting if not limited or reach.scope.can_include(tenant)]
    if not shown:
        say(f"nobody may call {method.path}{f' for {tenant}' if limited else ''}")
    for reach in shown:
        say(_sentence(reach, method, tenant if limited else ""))
    if len(given) > len(lasting):
        say(f"left out: {count(len(given) - len(lasting), 'description')} whose binding has ended")


def _sentence(reach: Reach, method: Method, tenant: str) -> str:
    said = str(reach.callers)
    if method.contract.tenant_field:
        said += f", for {reach.scope}"
        if tenant and reach.scope.own:
            said += f" (if {tenant} is one of them)"
    said += "".join(f", if {condition}" for condition in sorted(reach.conditions))
    if ends := time_in_words(reach.expires_at_seconds):
        said += f", until {ends}"
    together = ", by several bindings together" if len(reach.rules) > 1 else ""
    return f"{said}{together} ({_places(reach.rules)})"


def _places(rules: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{rule}, {place}" for rule, place in sorted(rules, key=lambda one: one[1]))
