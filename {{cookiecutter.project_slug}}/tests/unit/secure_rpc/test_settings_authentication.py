"""What the settings say of who is believed is refused where it would not do, with key, value and what would."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.certificate import NameKind
from secure_rpc.identity.principal import Credential
from secure_rpc.settings import PREFIX, Authentication, load

pytestmark = pytest.mark.usefixtures("no_settings_around")

ISSUER: dict[str, Any] = {"issuer": "https://i.example", "jwks_file": "jwks.json", "audiences": ["orders"]}
SOUND: dict[str, Any] = {
    "service": {"name": "orders"},
    "tls": {"certificate_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"},
    "authentication": {"trust_domain": "example.org", "issuers": [ISSUER]},
    "authorization": {"policy_file": "policy.yaml"},
    "audit": {"file": "audit.log"},
}
EXCHANGE = {"issuer": "https://internal.example", "key_file": "internal.key", "audiences": ["invoices"]}


def read(folder: Path, said: dict[str, Any]) -> Authentication:
    data = copy.deepcopy(SOUND)
    data["authentication"].update(said)
    (folder / "settings.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return load(folder / "settings.yaml").authentication


def problem(folder: Path, said: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, said)
    [told] = caught.value.problems
    assert told.startswith(f"{folder}/settings.yaml:")
    return told


def test_no_issuer_may_take_the_name_that_api_keys_have_in_the_policy(tmp_path: Path) -> None:
    """Else a token's subject would have what the policy gives to an API key of that name."""
    for said in ({"issuers": [{**ISSUER, "issuer": "api-key"}]}, {"exchange": {**EXCHANGE, "issuer": "api-key"}}):
        assert 'the name "api-key" is that of API keys in the policy' in problem(tmp_path, said)


def test_what_is_not_said_asks_for_the_most(tmp_path: Path) -> None:
    found = read(tmp_path, {})
    assert (found.credentials, found.certificate_names) == ((Credential.BOTH,), (NameKind.SPIFFE,))
    assert (found.api_keys_file, found.exchange, dict(found.federated_trust_domains)) == (None, None, {})


@pytest.mark.parametrize(
    "said",
    [
        {"credentials": "certificate", "issuers": []},
        {"credentials": ["certificate"], "issuers": []},
        {"credentials": ["token"]},
        {"credentials": ["certificate", "token"]},
        {"credentials": ["both", "api_key"], "api_keys_file": "keys.yaml"},
        {"credentials": "api_key", "api_keys_file": "keys.yaml", "issuers": []},
        {"certificate_names": ["spiffe", "dns", "common_name"]},
        {"federated_trust_domains": {"partner.example": {"bundle_file": "partner.pem"}}},
        {"exchange": EXCHANGE},
    ],
)
def test_what_would_do_is_taken(tmp_path: Path, said: dict[str, Any]) -> None:
    found = read(tmp_path, said)
    assert all(isinstance(each, Credential) for each in found.credentials)


@pytest.mark.parametrize(
    ("said", "key", "told"),
    [
        ({"credentials": "tokens"}, ".credentials.0", "is 'tokens': Input should be 'certificate', 'token', 'both'"),
        ({"credentials": ["both", "cookie"]}, ".credentials.1", "is 'cookie': Input should be 'certificate'"),
        ({"credentials": []}, "", '"credentials" and "certificate_names" name at least one each'),
        ({"certificate_names": []}, "", '"credentials" and "certificate_names" name at least one each'),
        ({"certificate_names": ["email"]}, ".certificate_names.0", "is 'email': Input should be 'spiffe', 'dns' or"),
        ({"issuers": []}, "", 'tokens are asked for, but no issuer of tokens is named under "issuers"'),
        ({"credentials": "token", "issuers": []}, "", "tokens are asked for, but no issuer"),
        ({"credentials": "api_key"}, "", '"api_key" among the credentials and "api_keys_file" come together'),
        ({"api_keys_file": "keys.yaml"}, "", '"api_key" among the credentials and "api_keys_file" come together'),
        ({"trust_domain": "Example.org"}, ".trust_domain", "is 'Example.org': a trust domain has 1 to 255 lower-case"),
        ({"trust_domain": "spiffe://example.org"}, ".trust_domain", "a trust domain has 1 to 255 lower-case"),
        ({"trust_domains": ["example.org"]}, ".trust_domains", 'is not known; did you mean "trust_domain"?'),
        (
            {"federated_trust_domains": {"Partner": {"bundle_file": "a"}}},
            ".federated_trust_domains",
            "a trust domain has 1 to 255 lower-case",
        ),
        (
            {"federated_trust_domains": {"partner.example": {}}},
            ".federated_trust_domains.partner.example.bundle_file",
            "is missing; add it",
        ),
        (
            {"federated_trust_domains": {"example.org": {"bundle_file": "a"}}},
            "",
            '"example.org" is our own trust domain; it is not federated with itself',
        ),
        ({"exchange": {**EXCHANGE, "audiences": []}}, ".exchange.audiences", "at least 1 item"),
        ({"exchange": {**EXCHANGE, "issuer": ""}}, ".exchange.issuer", "at least 1 character"),
        (
            {"exchange": {**EXCHANGE, "lifetime_seconds": 3601}},
            ".exchange.lifetime_seconds",
            "less than or equal to 3600",
        ),
        ({"exchange": {**EXCHANGE, "lifetime_seconds": 0}}, ".exchange.lifetime_seconds", "greater than 0"),
        ({"exchange": {"issuer": "a", "audiences": ["b"]}}, ".exchange.key_file", "is missing; add it"),
        ({"issuers": [{**ISSUER, "tenant_claim": "t"}]}, ".issuers.0.tenant_claim", "is not known; "),
        ({"issuers": [{**ISSUER, "introspection": {}}]}, ".issuers.0.introspection.url", "is missing; add it"),
        ({"remembered_identities": 0}, ".remembered_identities", "is 0: Input should be greater than 0"),
    ],
)
def test_what_would_not_do_is_told_with_key_value_and_remedy(
    tmp_path: Path, said: dict[str, Any], key: str, told: str
) -> None:
    found = problem(tmp_path, said)
    assert f'"authentication{key}" ' in found
    assert told in found


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("CREDENTIALS", '["token", "certificate"]', (Credential.TOKEN, Credential.CERTIFICATE)),
        ("CREDENTIALS", "token", (Credential.TOKEN,)),
    ],
)
def test_credentials_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: tuple[Credential, ...]
) -> None:
    monkeypatch.setenv(f"{PREFIX}AUTHENTICATION__{variable}", value)
    assert read(tmp_path, {}).credentials == expected
