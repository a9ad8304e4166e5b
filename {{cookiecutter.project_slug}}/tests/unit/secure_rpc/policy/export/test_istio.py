"""What Istio is told; that its kinds have such fields, the template's own tests see."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.export import istio
from secure_rpc.policy.export.common import Access, Target

from support.meshes import Caller, istio_allows

from .conftest import ISSUER, Exporting

PATH = "/things.v1.Things/Get"
TARGET = Target("things", {"app": "things"}, "shop")
ALICE = {"issuer": ISSUER.issuer, "subject": "alice"}
GROUP = {"issuer": ISSUER.issuer, "group": "g"}


def documents(access: Access) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in istio.export(access, TARGET).documents}


def rules(access: Access) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = documents(access)["AuthorizationPolicy"]["spec"]["rules"]
    return made


def said(access: Access) -> str:
    return "\n".join(map(str, istio.export(access, TARGET).inexpressible))


def test_without_a_binding_everything_is_denied(access: Exporting) -> None:
    spec = documents(access())["AuthorizationPolicy"]["spec"]
    assert spec == {"selector": {"matchLabels": {"app": "things"}}, "action": "ALLOW", "rules": []}


def test_users_groups_and_workloads_of_a_kind_are_one_rule(access: Exporting) -> None:
    bob, other = {**ALICE, "subject": "bob"}, {**GROUP, "group": "h"}
    works = [{"workload": f"spiffe://e.org/ns/a/sa/{name}"} for name in "xy"]
    to = [{"operation": {"paths": [PATH]}}]
    of_issuer = {"key": "request.auth.claims[iss]", "values": [ISSUER.issuer]}
    users = [f"{ISSUER.issuer}/alice", f"{ISSUER.issuer}/bob"]
    no_key = {"key": "request.headers[x-api-key]", "notValues": ["*"]}
    principals = ["e.org/ns/a/sa/x", "e.org/ns/a/sa/y"]
    expected = [
        {"from": [{"source": {"principals": principals, "notRequestPrincipals": ["*"]}}], "to": to, "when": [no_key]},
        {"to": to, "when": [of_issuer, {"key": "request.auth.claims[groups]", "values": ["g", "h"]}]},
        {"from": [{"source": {"requestPrincipals": users}}], "to": to, "when": [of_issuer]},
    ]
    assert rules(access(ALICE, GROUP, bob, other, *works)) == expected


def test_a_subject_in_another_claim_is_compared_there(access: Exporting) -> None:
    issuer = ISSUER._replace(subject_claim="act.sub")
    made = rules(access(ALICE, issuers=[issuer]))
    assert [rule["when"][1] for rule in made] == [
        {"key": "request.auth.claims[act.sub]", "values": ["alice"]},
        {"key": "request.auth.claims[act][sub]", "values": ["alice"]},
    ]
    assert not [rule for rule in made if "from" in rule]


def test_tokens_are_verified_by_keys_in_the_document_or_at_an_address_and_passed_on(access: Exporting) -> None:
    remote = ISSUER._replace(issuer="https://b.example/", jwks_url="https://b.example/jwks", leeway_seconds=90)
    made = access(ALICE, issuers=[ISSUER._replace(jwks='{"keys": []}'), remote])
    first, second = documents(made)["RequestAuthentication"]["spec"]["jwtRules"]
    assert (first["jwks"], second["jwksUri"]) == ('{"keys": []}', "https://b.example/jwks")
    assert first["forwardOriginalToken"] is True
    assert first["audiences"] == ["things"]
    assert "tokens of https://b.example/ are taken 90 s after their end" in said(made)
    assert f"tokens of {ISSUER.issuer} are taken" not in said(made)


def test_with_opaque_tokens_no_token_is_verified(access: Exporting) -> None:
    made = access(ALICE, {"workload": "spiffe://e.org/ns/a/sa/x"}, issuers=[ISSUER._replace(opaque_tokens=True)])
    assert list(documents(made)) == ["AuthorizationPolicy"]
    policy = documents(made)["AuthorizationPolicy"]
    user, workload = Caller(Principal("spiffe://e.org/b")), Caller(Principal("spiffe://e.org/ns/a/sa/x"))
    assert istio_allows(policy, workload, PATH)
    assert not istio_allows(policy, user, PATH)
    user.headers["authorization"] = "Bearer opaque"
    assert istio_allows(policy, user, PATH)
    assert f"opaque tokens of {ISSUER.issuer}" in said(made)


def test_public_methods_are_open_and_what_a_bad_token_does_there_is_listed(access: Exporting) -> None:
    made = access(contracts={"/h.H/Check": Contract(public=True)})
    assert rules(made) == [{"to": [{"operation": {"paths": ["/h.H/Check"]}}]}]
    assert "NARROWER" in said(made)
    assert "NARROWER" not in said(access(ALICE))


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ({"workload": "spiffe://e.org/ns/a/sa/x-*"}, "exported as all that begins with spiffe://e.org/ns/a/sa/x-;"),
        ({"workload": "spiffe://e.org/ns/*/sa/x"}, "exported as all that begins with spiffe://e.org/ns/;"),
        ({"workload": "dns:x.example"}, "the certificate name dns:x.example"),
        ({**ALICE, "subject": "a*"}, "the subject a*"),
        ({**GROUP, "group": "*"}, "the group *"),
        ({"issuer": "api-key", "subject": "till"}, "the user till of API keys"),
    ],
)
def test_what_istio_cannot_say_is_listed(access: Exporting, who: dict[str, str], words: str) -> None:
    assert words in said(access(who))


def test_what_istio_can_say_is_not_listed(access: Exporting) -> None:
    before = said(access(ALICE))
    assert said(access(ALICE, {**GROUP, "group": "a*b"}, {"workload": "spiffe://e.org/ns/a/sa/x"})) == before


def test_the_documents_name_their_pods(access: Exporting) -> None:
    for document in documents(access(ALICE)).values():
        assert document["metadata"]["namespace"] == "shop"
        assert document["spec"]["selector"] == {"matchLabels": {"app": "things"}}
        json.dumps(document)
