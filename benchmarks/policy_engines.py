"""The same policy in other engines, each in the fastest way that was found, and in the way of its documentation.

What they are asked is made before it is timed: requests as dicts for Cedar, principals for ours.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import casbin
import cedarpy
from casbin.persist.adapters.string_adapter import StringAdapter
from secure_rpc.policy.engine import Engine

from benchmarks.policies import PERMISSIONS, MadePolicy, asking, caller

Ask: TypeAlias = Callable[[], Any]
CASBIN = """
[request_definition]
r = sub, act
[policy_definition]
p = sub, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = """
logging.getLogger("casbin").setLevel(logging.ERROR)  # it would make a line of each refusal


class Loaded(NamedTuple):
    """An engine that has read a policy."""

    question: Callable[[str, str], Ask]  # for a user and a permission, what is timed
    allowed: Callable[[Any], bool]  # reads the answer


def ours(policy: MadePolicy) -> Loaded:
    """Return the engine of the service."""
    engine = Engine.of(policy.document())
    methods = {permission: asking(permission) for permission in PERMISSIONS}
    callers = {user: caller(user) for user, _ in policy.bindings}
    return Loaded(
        lambda user, permission: functools.partial(engine.decide, callers[user], methods[permission]),
        lambda decision: decision.allowed,
    )


def casbin_with_rules(policy: MadePolicy) -> Loaded:
    """Return casbin's role model; its fast enforcer looks only at rules of the permission that is asked for."""
    rules = [f"p, {role}, {permission}" for role, given in policy.roles.items() for permission in given]
    return _casbin("g(r.sub, p.sub) && r.act == p.act", [*rules, *_bindings(policy)], cache_key_order=[1])


def casbin_with_links(policy: MadePolicy) -> Loaded:
    """Return casbin with permissions as roles of roles: one rule, and all else is a walk along links."""
    links = [f"g, {role}, {permission}" for role, given in policy.roles.items() for permission in given]
    return _casbin("g(r.sub, r.act)", ["p, any, any", *links, *_bindings(policy)])


def cedar_with_policies(policy: MadePolicy) -> Loaded:
    """Return Cedar with a policy for each role, as its documentation has roles; all is parsed once."""
    actions = {role: ", ".join(f'Action::"{name}"' for name in given) for role, given in policy.roles.items()}
    text = "\n".join(
        f'permit(principal in Role::"{role}", action in [{it}], resource);' for role, it in actions.items()
    )
    return _cedar(text, policy, dict.fromkeys(policy.roles, ()), lambda _permission: _uid("Service", "things"))


def cedar_with_entities(policy: MadePolicy) -> Loaded:
    """Return Cedar with permissions as entities that roles are in: one policy, and all else is looked up."""
    text = "permit(principal, action, resource) when { principal in resource };"
    return _cedar(text, policy, policy.roles, lambda permission: _uid("Permission", permission))


ENGINES: dict[str, Callable[[MadePolicy], Loaded]] = {
    "ours": ours,
    "casbin, rules of roles": casbin_with_rules,
    "casbin, permissions as roles": casbin_with_links,
    "Cedar, a policy per role": cedar_with_policies,
    "Cedar, permissions as entities": cedar_with_entities,
}


def _bindings(policy: MadePolicy) -> list[str]:
    return [f"g, {user}, {role}" for user, role in policy.bindings]


def _casbin(matcher: str, lines: list[str], **arguments: Any) -> Loaded:  # noqa: ANN401  # as casbin has them
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.conf")
        model.write_text(CASBIN + matcher + "\n", encoding="utf-8")
        enforcer = casbin.FastEnforcer(str(model), StringAdapter("\n".join(lines)), **arguments)
    return Loaded(lambda user, permission: functools.partial(enforcer.enforce, user, permission), bool)


def _cedar(
    text: str, policy: MadePolicy, roles: dict[str, tuple[str, ...]], resource: Callable[[str], dict[str, str]]
) -> Loaded:
    permissions = sorted({name for given in roles.values() for name in given})
    entities = [_entity("Permission", name) for name in permissions]
    entities += [_entity("Role", role, *(_uid("Permission", name) for name in given)) for role, given in roles.items()]
    entities += [_entity("User", user, _uid("Role", role)) for user, role in policy.bindings]
    policies, graph = cedarpy.PolicySet.from_str(text), cedarpy.Entities.from_json_str(json.dumps(entities))

    def question(user: str, permission: str) -> Ask:
        request = {
            "principal": _uid("User", user),
            "action": _uid("Action", permission),
            "resource": resource(permission),
        }
        return functools.partial(cedarpy.is_authorized, request, policies, graph)

    return Loaded(question, lambda answer: bool(answer.allowed))


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _entity(kind: str, name: str, *parents: dict[str, str]) -> dict[str, Any]:
    return {"uid": _uid(kind, name), "attrs": {}, "parents": list(parents)}
