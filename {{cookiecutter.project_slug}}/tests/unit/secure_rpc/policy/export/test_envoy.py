"""What Envoy is told; that it does what it is told, the template's own tests see with a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secure_rpc.call import Contract, Principal
from secure_rpc.policy.export import envoy
from secure_rpc.policy.export.common import Export, TokenIssuer
from secure_rpc.policy.export.envoy_principals import MAX_INSTRUCTIONS, certificate_of

from support.meshes import Caller, envoy_allows

from .conftest import ISSUER, Exporting

PATH = "/things.v1.Things/Get"
ALICE = {"issuer": ISSUER.issuer, "subject": "alice"}
REMOTE = TokenIssuer(
    "https://login.example/",
    ("a", "b"),
    jwks_url="https://login.example:8443/jwks",
    refresh_seconds=60,
    leeway_seconds=0.5,
)


def filters(export: Export) -> dict[str, Any]:
    (document,) = export.documents
    return {each["name"]: each["typed_config"] for each in document["http_filters"]}


def expressions(data: object) -> list[str]:
    if isinstance(data, dict):
        own = [data["regex"]] if "regex" in data else []
        return own + [found for value in data.values() for found in expressions(value)]
    return [found for value in data for found in expressions(value)] if isinstance(data, list) else []


def test_without_a_binding_everything_is_denied(access: Exporting) -> None:
    rules = filters(envoy.export(access()))[envoy.RBAC_FILTER]["rules"]
    assert rules == {"action": "ALLOW", "policies": {}}


def test_tokens_are_looked_for_in_one_header_and_passed_on(access: Exporting) -> None:
    jwt = filters(envoy.export(access(ALICE, issuers=[REMOTE])))[envoy.JWT_FILTER]
    provider = jwt["providers"][REMOTE.issuer]
    assert {header["name"] for header in provider["from_headers"]} == {"authorization"}  # and in no parameter
    assert (provider["forward"], provider["require_expiration"], provider["clock_skew_seconds"]) == (True, True, 1)
    assert (provider["issuer"], provider["audiences"]) == (REMOTE.issuer, ["a", "b"])
    assert jwt["rules"][-1]["requires"] == {
        "requires_any": {"requirements": [{"provider_name": REMOTE.issuer}, {"allow_missing": {}}]}
    }


def test_keys_are_fetched_from_whom_their_address_names(access: Exporting) -> None:
    (document,) = envoy.export(access(ALICE, issuers=[REMOTE, ISSUER])).documents
    (cluster,) = document["clusters"]
    providers = document["http_filters"][0]["typed_config"]["providers"]
    assert providers[REMOTE.issuer]["remote_jwks"]["http_uri"]["cluster"] == cluster["name"]
    assert providers[REMOTE.issuer]["remote_jwks"]["cache_duration"] == "60s"
    assert providers[ISSUER.issuer]["local_jwks"] == {"filename": "keys.json"}
    tls = cluster["transport_socket"]["typed_config"]
    assert tls["sni"] == "login.example"
    validation = tls["common_tls_context"]["validation_context"]
    assert validation["match_typed_subject_alt_names"] == [{"san_type": "DNS", "matcher": {"exact": "login.example"}}]
    assert validation["trusted_ca"] == {"filename": envoy.SYSTEM_CAS}
    assert '"port_value": 8443' in json.dumps(cluster)


def test_keys_of_a_server_without_a_name_are_fetched_by_its_address(access: Exporting) -> None:
    issuer = REMOTE._replace(jwks_url="https://192.0.2.1/jwks", ca_file="ca.pem")
    (document,) = envoy.export(access(ALICE, issuers=[issuer])).documents
    tls = document["clusters"][0]["transport_socket"]["typed_config"]
    assert "sni" not in tls
    validation = tls["common_tls_context"]["validation_context"]
    assert validation["match_typed_subject_alt_names"][0]["san_type"] == "IP_ADDRESS"
    assert validation["trusted_ca"] == {"filename": "ca.pem"}


def test_of_public_methods_no_token_is_looked_at(access: Exporting) -> None:
    contracts = {"/h.H/Check": Contract(public=True), PATH: Contract(permissions=("things.read",))}
    found = filters(envoy.export(access(ALICE, contracts=contracts)))
    assert found[envoy.JWT_FILTER]["rules"][0] == {"match": {"path": "/h.H/Check"}}
    assert found[envoy.RBAC_FILTER]["rules"]["policies"]["public"]["principals"] == [{"any": True}]


@pytest.mark.parametrize("file", ["keys.json", ""])
def test_a_token_that_envoy_cannot_verify_passes_as_any_user_and_as_nobody_else(access: Exporting, file: str) -> None:
    issuer = ISSUER._replace(opaque_tokens=True, jwks_file=file)
    made = envoy.export(access(ALICE, {"workload": "spiffe://e.org/a"}, issuers=[issuer]))
    opaque = Caller(Principal("spiffe://e.org/b"))
    opaque.headers["authorization"] = "Bearer opaque"
    jwt = Caller(Principal("spiffe://e.org/a"))
    jwt.headers["authorization"] = "Bearer a.b.c"  # not verified: it has left no claims
    assert envoy_allows(made.documents[0], opaque, PATH)
    assert envoy_allows(made.documents[0], jwt, PATH) is not bool(file)  # without keys, JWTs are asked about too
    assert (envoy.JWT_FILTER in filters(made)) is bool(file)
    assert [item for item in made.inexpressible if item.what == f"opaque tokens of {ISSUER.issuer}"]


def test_a_claim_whose_name_has_dots_may_be_nested_or_not(access: Exporting) -> None:
    issuer = ISSUER._replace(groups_claim="realm.roles")
    (document,) = envoy.export(access({"issuer": ISSUER.issuer, "group": "g"}, issuers=[issuer])).documents
    caller = Caller(Principal("w", ISSUER.issuer, "alice"))
    for claims in ({"realm": {"roles": ["f", "g"]}}, {"realm.roles": "g"}):
        caller.claims = {"iss": ISSUER.issuer, **claims}
        assert envoy_allows(document, caller, PATH)
    caller.claims = {"iss": ISSUER.issuer, "groups": ["g"]}
    assert not envoy_allows(document, caller, PATH)


def test_a_user_of_an_api_key_is_whoever_sends_one(access: Exporting) -> None:
    made = envoy.export(access({"issuer": "api-key", "subject": "till", "workload": "spiffe://e.org/a"}))
    till = Caller(Principal("spiffe://e.org/a", "api-key", "till"))
    assert envoy_allows(made.documents[0], till, PATH)
    assert not envoy_allows(made.documents[0], Caller(Principal("spiffe://e.org/b", "api-key", "till")), PATH)
    assert not envoy_allows(made.documents[0], Caller(Principal("spiffe://e.org/a")), PATH)
    assert [item for item in made.inexpressible if item.what == "the user till of API keys"]


LONG = "spiffe://a-long-name-of-a-trust-domain.example.org/ns/a-namespace-with-a-long-name/sa/*-of-a-service-account"


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        (LONG, LONG.replace("*", "x"), LONG.replace("*", "x/y")),
        ("spiffe://e.org/ns/*/sa/x-*", "spiffe://e.org/ns/a/sa/x-1", "spiffe://e.org/ns/a/sa/x-"),
        ("spiffe://e.org/*", "spiffe://e.org/a", "spiffe://e.org/a/b"),
        ("spiffe://e.org/*/z", "spiffe://e.org/a/z", "spiffe://e.org/a/b/z"),
    ],
)
def test_a_pattern_says_what_it_says_in_expressions_that_envoy_takes(
    access: Exporting, pattern: str, fits: str, fits_not: str
) -> None:
    made = envoy.export(access({"workload": pattern}))
    assert envoy_allows(made.documents[0], Caller(Principal(fits)), PATH)
    assert not envoy_allows(made.documents[0], Caller(Principal(fits_not)), PATH)
    assert max(map(len, expressions(made.documents[0]))) <= MAX_INSTRUCTIONS
    assert not [item for item in made.inexpressible if pattern in item.what]


@pytest.mark.parametrize(
    "pattern",
    [f"spiffe://e.org/{'a' * 100}-*-*", "spiffe://e.org/" + "a/" * 30 + "*", "spiffe://e.org/*" + "/a" * 40 + "/*"],
)
def test_a_pattern_that_is_too_long_for_envoy_comes_out_wider_and_is_listed(access: Exporting, pattern: str) -> None:
    made = envoy.export(access({"workload": pattern}))
    assert envoy_allows(made.documents[0], Caller(Principal(pattern.replace("*", "x"))), PATH)
    assert not envoy_allows(made.documents[0], Caller(Principal("spiffe://e.com/x")), PATH)
    assert [item for item in made.inexpressible if item.what == f"the pattern {pattern}"]


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("orders", "orders"),
        ('a,b+c"d\\e<f>g;h', 'a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h'),
        ("# größe ", "\\# gr\\C3\\B6\\C3\\9Fe\\ "),
    ],
)
def test_a_common_name_is_written_as_envoy_prints_it(name: str, printed: str) -> None:
    said = json.dumps(certificate_of(f"cn:{name}"))
    assert json.dumps(f"CN={printed}")[1:-1] in said
