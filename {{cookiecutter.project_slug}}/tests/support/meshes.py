"""What exported rules mean, in a few lines for each mesh: as far as the exports use their languages."""

from __future__ import annotations

import re
from typing import Any

from secure_rpc.call import Principal

Json = dict[str, Any]


class Caller:
    """A call as a mesh sees it: a certificate, the claims of a verified token, and headers."""

    def __init__(self, principal: Principal) -> None:
        self.workload = principal.workload
        self.claims: Json = {}
        self.headers: dict[str, str] = {}
        if principal.issuer == "api-key":
            self.headers["x-api-key"] = "key"
        elif principal.subject:
            self.headers["authorization"] = "Bearer a.b.c"
            self.claims = {
                "iss": principal.issuer,
                "sub": principal.subject,
                "groups": sorted(principal.groups),
            }


def envoy_allows(document: Json, caller: Caller, path: str) -> bool:
    """Tell what the RBAC filter of an exported document decides."""
    rules = document["http_filters"][-1]["typed_config"]["rules"]
    caller.headers[":path"] = path
    return any(
        any(_header(permission["header"], caller) for permission in policy["permissions"])
        and any(_envoy_principal(each, caller) for each in policy["principals"])
        for policy in rules["policies"].values()
    )


def _envoy_principal(principal: Json, caller: Caller) -> bool:
    ((kind, value),) = principal.items()
    if kind in {"and_ids", "or_ids"}:
        return (all if kind == "and_ids" else any)(_envoy_principal(each, caller) for each in value["ids"])
    if kind == "not_id":
        return not _envoy_principal(value, caller)
    if kind == "authenticated":
        return _text(value["principal_name"], caller.workload)
    if kind == "sourced_metadata":
        matcher = value["metadata_matcher"]
        found: Any = {"token": caller.claims}
        for part in matcher["path"]:
            found = found.get(part["key"], {}) if isinstance(found, dict) else {}
        return _value(matcher["value"], found)
    return kind == "any" or _header(value, caller)


def _header(matcher: Json, caller: Caller) -> bool:
    found = caller.headers.get(matcher["name"])
    return found is not None and _text(matcher["string_match"], found)


def _text(matcher: Json, text: str) -> bool:
    ((kind, value),) = matcher.items()
    if kind == "safe_regex":
        return re.fullmatch(value["regex"], text) is not None
    if kind == "exact":
        return text == str(value)
    if kind == "contains":
        return value in text
    return text.startswith(value) if kind == "prefix" else text.endswith(value)


def _value(matcher: Json, found: Any) -> bool:
    ((kind, value),) = matcher.items()
    if kind == "or_match":
        return any(_value(each, found) for each in value["value_matchers"])
    if kind == "list_match":
        return isinstance(found, list) and any(_value(value["one_of"], each) for each in found)
    if kind == "present_match":
        return bool(found)
    return isinstance(found, str) and _text(value, found)


def istio_allows(policy: Json, caller: Caller, path: str) -> bool:
    """Tell what an AuthorizationPolicy with the action ALLOW decides."""
    user = f"{caller.claims['iss']}/{caller.claims['sub']}" if caller.claims else ""
    workload = caller.workload.removeprefix("spiffe://")
    return any(
        all(
            _istio(source.get("principals"), [workload])
            and _istio(source.get("requestPrincipals"), [user])
            and not (user and source.get("notRequestPrincipals"))
            for source in (each["source"] for each in rule.get("from", []))
        )
        and any(path in each["operation"]["paths"] for each in rule["to"])
        and all(_istio_condition(each, caller) for each in rule.get("when", []))
        for rule in policy["spec"]["rules"]
    )


def _istio_condition(condition: Json, caller: Caller) -> bool:
    name = re.findall(r"\[([^\]]+)\]", condition["key"])[0]
    found: Any = (caller.claims if "claims" in condition["key"] else caller.headers).get(name, [])
    values = found if isinstance(found, list) else [found]
    if "notValues" in condition:
        return not _istio(condition["notValues"], values)
    return _istio(condition["values"], values)


def _istio(wanted: list[str] | None, found: list[str]) -> bool:
    return wanted is None or any(_istio_value(each, value) for each in wanted for value in found)


def _istio_value(wanted: str, value: str) -> bool:
    if wanted == "*":
        return bool(value)
    if wanted.endswith("*"):
        return value.startswith(wanted[:-1])
    return value.endswith(wanted[1:]) if wanted.startswith("*") else value == wanted


def linkerd_allows(documents: list[Json], caller: Caller, path: str) -> bool:
    """Tell what the documents for Linkerd decide."""
    found = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in documents}
    account = re.fullmatch(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)", caller.workload)
    identity = caller.workload
    if account:
        identity = f"{account[3]}.{account[2]}.serviceaccount.identity.linkerd.{account[1]}"
    for (kind, _), spec in found.items():
        if kind != "AuthorizationPolicy":
            continue
        route = found["GRPCRoute", spec["targetRef"]["name"]]
        methods = [match["method"] for rule in route["rules"] for match in rule["matches"]]
        if path in {f"/{method['service']}/{method['method']}" for method in methods}:
            identities = found["MeshTLSAuthentication", spec["requiredAuthenticationRefs"][0]["name"]]["identities"]
            return any(
                each in {"*", identity} or (each[0] == "*" and identity.endswith(each[1:])) for each in identities
            )
    return False
