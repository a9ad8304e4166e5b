"""What is said of an issuer is refused where it would not do, with key, value and what would."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from secure_rpc.configuration import ConfigurationError, explain
from secure_rpc.identity.issuer import ASYMMETRIC, Issuer

URL = "https://issuer.example.org"
SOUND: dict[str, Any] = {"issuer": URL, "jwks_file": "jwks.json", "audiences": ("orders",)}
ASKED: dict[str, Any] = {"issuer": URL, "audiences": ("orders",), "introspection": {"url": f"{URL}/introspect"}}


def problems(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Issuer.model_validate(data)
    told = explain(caught.value, Issuer, lambda _: "settings.yaml:1")
    assert isinstance(told, ConfigurationError)
    return list(told.problems)


def test_what_is_not_said_has_a_default() -> None:
    issuer = Issuer.model_validate(SOUND)
    assert (issuer.algorithms, issuer.types, issuer.required_claims) == (("ES256", "RS256"), ("at+jwt",), ("iat",))
    assert (issuer.leeway_seconds, issuer.trust_domain, issuer.certificate_bound) == (30, "", False)
    assert issuer.claims.model_dump() == {"subject": "sub", "tenants": "tenant", "groups": "groups", "roles": "roles"}
    assert issuer.keys.model_dump() == {
        "refresh_seconds": 300,
        "minimum_interval_seconds": 10,
        "stale_limit_seconds": 3600,
    }


@pytest.mark.parametrize("name", sorted(ASYMMETRIC))
def test_every_asymmetric_algorithm_can_be_named(name: str) -> None:
    assert Issuer.model_validate({**SOUND, "algorithms": [name]}).algorithms == (name,)


@pytest.mark.parametrize(
    ("wrong", "key", "told"),
    [
        ({"issuer": ""}, "issuer", "at least 1 character"),
        ({"audiences": []}, "audiences", "at least 1 item"),
        ({"audiences": "orders"}, "audiences", "valid tuple"),
        ({"audience": "orders"}, "audience", 'is not known; did you mean "audiences"?'),
        ({"algorithms": []}, "algorithms", "name at least one algorithm"),
        ({"algorithms": ["HS256"]}, "algorithms", "HS256 is not an asymmetric signature; did you mean "),
        ({"algorithms": ["none"]}, "algorithms", "none is not an asymmetric signature; known: ES256"),
        ({"algorithms": ["ES256", "es256"]}, "algorithms", "es256 is not an asymmetric signature; "),
        ({"leeway_seconds": 301}, "leeway_seconds", "less than or equal to 300"),
        ({"leeway_seconds": -1}, "leeway_seconds", "greater than or equal to 0"),
        ({"trust_domain": "Partner"}, "trust_domain", "a trust domain has 1 to 255 lower-case letters"),
        ({"trust_domain": "spiffe://partner"}, "trust_domain", "a trust domain has 1 to 255 lower-case letters"),
        ({"certificate_bound": "perhaps"}, "certificate_bound", "valid boolean"),
        ({"jwks_file": None, "jwks_url": "http://issuer"}, "jwks_url", "begins with https:// and holds no password"),
        ({"jwks_file": None, "jwks_url": "https://a:b"}, "jwks_url", "begins with https:// and holds no password"),
        ({"claims": {"subject": ""}}, "claims.subject", "at least 1 character"),
        ({"claims": {"tenant": "t"}}, "claims.tenant", 'is not known; did you mean "tenants"?'),
        ({"fetch": {"timeout_seconds": 0}}, "fetch.timeout_seconds", "greater than 0"),
        ({"fetch": {"key_file": "a.key"}}, "fetch", '"certificate_file" and "key_file" come together'),
        ({"fetch": {"certificate_file": "a.pem"}}, "fetch", '"certificate_file" and "key_file" come together'),
        ({"fetch": {"verify": False}}, "fetch.verify", "is not known; known: ca_file"),
        ({"keys": {"refresh_seconds": 0}}, "keys.refresh_seconds", "greater than 0"),
        ({"keys": {"refresh_seconds": 5}}, "keys", "else keys go stale untried"),
        ({"keys": {"stale_limit_seconds": 300}}, "keys", "else keys go stale untried"),
        ({"keys": {"minimum_interval_seconds": 301}}, "keys", "else keys go stale untried"),
    ],
)
def test_what_would_not_do_is_told_with_key_value_and_remedy(wrong: dict[str, Any], key: str, told: str) -> None:
    [problem] = problems({**SOUND, **wrong})
    assert problem.startswith(f'settings.yaml:1: "{key}" ')
    assert told in problem


@pytest.mark.parametrize(
    ("introspection", "key", "told"),
    [
        ({"url": "http://issuer"}, ".url", "begins with https:// and holds no password"),
        ({"url": "https://me:hunter2@issuer"}, ".url", "begins with https:// and holds no password"),
        ({"client_secret_file": "secret"}, "", '"client_secret_file" needs a "client_id", whose secret it is'),
        ({"client_secret": "hunter2"}, ".client_secret", 'is not known; did you mean "client_secret_file"?'),
        ({"cache_seconds": 3601}, ".cache_seconds", "less than or equal to 3600"),
        ({"cache_seconds": -1}, ".cache_seconds", "greater than or equal to 0"),
        ({"negative_cache_seconds": 301}, ".negative_cache_seconds", "less than or equal to 300"),
        ({"remembered_tokens": 0}, ".remembered_tokens", "greater than 0"),
    ],
)
def test_an_introspection_that_would_not_do_is_told(introspection: dict[str, Any], key: str, told: str) -> None:
    data = {**ASKED, "introspection": {**ASKED["introspection"], **introspection}}
    [problem] = problems(data)
    assert f'"introspection{key}" ' in problem
    assert told in problem


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"jwks_url": f"{URL}/jwks"}, 'name "jwks_file" or "jwks_url", not both'),
        ({"jwks_file": None}, 'name a "jwks_file", a "jwks_url" or an "introspection": no token could be verified'),
    ],
)
def test_there_is_one_way_to_an_issuers_keys(said: dict[str, Any], told: str) -> None:
    [problem] = problems({**SOUND, **said})
    assert told in problem


@pytest.mark.parametrize(
    "data",
    [
        SOUND,
        ASKED,
        {**SOUND, "introspection": ASKED["introspection"]},
        {"issuer": URL, "audiences": ["a"], "jwks_url": f"{URL}/jwks"},
        {**ASKED, "introspection": {"url": URL, "client_id": "orders"}},
        {**ASKED, "introspection": {"url": URL, "client_id": "orders", "client_secret_file": "secret"}},
        {**SOUND, "fetch": {"certificate_file": "a.pem", "key_file": "a.key"}},
    ],
)
def test_what_would_do_is_taken(data: dict[str, Any]) -> None:
    assert Issuer.model_validate(yaml.safe_load(yaml.safe_dump(Issuer.model_validate(data).model_dump(mode="json"))))
