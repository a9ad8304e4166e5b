"""Settings come from a file and over it from the environment; what is wrong is said so that it can be mended."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from secure_rpc.configuration import ConfigurationError, model_in
from secure_rpc.settings import PREFIX, Settings, load

METHOD = "/a.B/C"
ENTRIES = {"issuers": ".0", "quotas": ".default", "contracts": f".{METHOD}", "federated_trust_domains": ".partner"}
SOUND: dict[str, Any] = {
    "service": {"name": "orders"},
    "tls": {"certificate_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"},
    "authentication": {
        "trust_domain": "example.org",
        "issuers": [{"issuer": "https://issuer.example.org", "jwks_file": "jwks.json", "audiences": ["orders"]}],
    },
    "authorization": {"policy_file": "policy.yaml", "contracts": {METHOD: {"public": True}}},
    "quotas": {"default": {"calls": 10}},
    "audit": {"file": "audit.log"},
}


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    write(path, SOUND)
    return path


def with_setting(place: str, value: Any) -> dict[str, Any]:
    """Return the sound settings with one that is another; its place is written with dots."""
    data: dict[str, Any] = copy.deepcopy(SOUND)
    *above, last = place.replace(METHOD, "METHOD").split(".")
    section: Any = data
    for part, after in zip(above, [*above, last][1:], strict=True):
        key = part.replace("METHOD", METHOD)
        empty: Any = [{}] if after == "0" else {}
        section = section[int(key)] if isinstance(section, list) else section.setdefault(key, empty)
    section[last] = value
    return data


def write(file: Path, data: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    return [told.replace(f"{file.parent}/", "") for told in caught.value.problems]


# --- what is read ------------------------------------------------------------------------------------------------


def test_what_the_file_does_not_say_has_a_default(file: Path) -> None:
    settings = load(file)
    assert settings.service.name == "orders"
    assert settings.listen.address == "127.0.0.1:50051"
    assert settings.quotas["default"].calls == 10
    assert settings.authentication.issuers[0].leeway_seconds == 30
    assert settings.tls.minimum_version.value == "TLSv1.3"
    assert settings.audit.refuse_when_unwritable
    assert not settings.reflection.enabled


def test_no_more_than_what_has_no_default_need_be_said(file: Path) -> None:
    data = {key: value for key, value in SOUND.items() if key != "quotas"}
    write(file, data | {"authorization": {"policy_file": "policy.yaml"}})
    settings = load(file)
    assert settings.quotas["default"].calls == 1000
    assert not settings.authorization.contracts


@pytest.mark.parametrize("name", ["dev.yaml", "prod.yaml"])
def test_the_settings_that_come_with_the_service_are_sound(name: str) -> None:
    settings = load(Path("config") / name)
    assert settings.tls.minimum_version.value == "TLSv1.3"
    assert settings.audit.refuse_when_unwritable


def test_the_environment_stands_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_RPC_SERVICE__NAME", "invoices")
    monkeypatch.setenv("secure_rpc_service__cluster", "eu-1")
    monkeypatch.setenv("SECURE_RPC_QUOTAS__BULK__CALLS", "3")
    monkeypatch.setenv("SECURE_RPC_AUTHENTICATION__TRUST_DOMAIN", "a.example")
    monkeypatch.setenv("SECURE_RPC_LIMITS", '{"max_connections": 5}')
    monkeypatch.setenv("SECURE_RPC_REMEMBERED_CALLERS", "7")
    settings = load(file)
    assert (settings.service.name, settings.service.cluster) == ("invoices", "eu-1")
    assert (settings.quotas["bulk"].calls, settings.quotas["default"].calls) == (3, 10)
    assert settings.authentication.trust_domain == "a.example"
    assert (settings.limits.max_connections, settings.limits.max_concurrent_streams) == (5, 100)
    assert settings.remembered_callers == 7


def test_the_variable_that_names_the_file_is_no_setting(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_RPC_CONFIG", str(file))
    assert load(file).service.name == "orders"


def test_settings_do_not_change_once_they_are_read(file: Path) -> None:
    settings = load(file)
    with pytest.raises(ValidationError, match="frozen"):
        settings.remembered_callers = 5
    with pytest.raises(ValidationError, match="frozen"):
        settings.limits.max_connections = 5


# --- unknown keys ------------------------------------------------------------------------------------------------


def _sections(model: type[BaseModel] = Settings, place: str = "") -> Iterator[str]:
    """Yield the place of each section, with a key for maps and a number for lists."""
    yield place
    for name, found in model.model_fields.items():
        inner = model_in(found.annotation)
        if inner is not None:
            entry = ENTRIES.get(name, "")
            yield from _sections(inner, f"{place}.{name}{entry}".lstrip("."))


@pytest.mark.parametrize("section", list(_sections()))
def test_an_unknown_key_is_refused_in_every_section_of_the_file(file: Path, section: str) -> None:
    place = f"{section}.zzz_unknown".lstrip(".")
    write(file, with_setting(place, 1))
    assert any(f'"{place}" is not known; ' in told and told.startswith("settings.yaml:") for told in problems(file))


@pytest.mark.parametrize(
    ("place", "meant"),
    [
        ("servise", "service"),
        ("listen.adress", "address"),
        ("tls.minimum_versoin", "minimum_version"),
        ("authentication.issuers.0.audience", "audiences"),
        ("authorization.policyfile", "policy_file"),
        ("quotas.default.cals", "calls"),
        ("limits.max_conections", "max_connections"),
        ("audit.durabilty", "durability"),
        ("logging.fromat", "format"),
    ],
)
def test_a_misspelt_key_is_told_with_line_and_what_was_meant(file: Path, place: str, meant: str) -> None:
    write(file, with_setting(place, 1))
    text = file.read_text(encoding="utf-8").splitlines()
    key = place.rpartition(".")[2]
    line = next(number for number, content in enumerate(text, start=1) if f"{key}:" in content)
    assert f'settings.yaml:{line}: "{place}" is not known; did you mean "{meant}"?' in problems(file)


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (
            "SECURE_RPC_LISTN__ADDRESS",
            'the environment variable SECURE_RPC_LISTN__ADDRESS is no setting; did you mean "SECURE_RPC_LISTEN"?',
        ),
        (
            "SECURE_RPC_REMEMBERED_CALLER",
            (
                "the environment variable SECURE_RPC_REMEMBERED_CALLER is no setting; "
                'did you mean "SECURE_RPC_REMEMBERED_CALLERS"?'
            ),
        ),
        (
            "SECURE_RPC_REMEMBERED_CALLERS__MAX",
            (
                "the environment variable SECURE_RPC_REMEMBERED_CALLERS__MAX is no setting; "
                'did you mean "SECURE_RPC_REMEMBERED_CALLERS"?'
            ),
        ),
        (
            "SECURE_RPC_SERVING_LOOP__KIND",
            (
                "the environment variable SECURE_RPC_SERVING_LOOP__KIND is no setting; "
                'did you mean "SECURE_RPC_SERVING_LOOP"?'
            ),
        ),
        (
            "SECURE_RPC_LISTEN__ADRESS",
            'environment variable SECURE_RPC_LISTEN__ADRESS: "listen.adress" is not known; did you mean "address"?',
        ),
        (
            "SECURE_RPC_QUOTAS__DEFAULT__CALS",
            (
                'environment variable SECURE_RPC_QUOTAS__DEFAULT__CALS: "quotas.default.cals" is not known; '
                'did you mean "calls"?'
            ),
        ),
    ],
)
def test_an_unknown_variable_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, told: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert problems(file) == [told]


def test_a_key_that_stands_twice_is_refused(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines, "audit:", "  file: other.log"]), encoding="utf-8")
    first = lines.index("audit:") + 1
    assert problems(file) == [
        f'settings.yaml:{len(lines) + 1}: the key "audit" stands twice, first in line {first}; keep one'
    ]


# --- bad values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("listen.address", "localhost", 'an address has a host and a port, such as "127.0.0.1:50051"'),
        ("listen.address", ":50051", "an address has a host and a port"),
        ("listen.address", "localhost:65536", "an address has a host and a port"),
        ("listen.admin_address", "localhost:http", "an address has a host and a port"),
        ("tls.minimum_version", "TLSv1.1", "Input should be 'TLSv1.2' or 'TLSv1.3'"),
        ("authentication.trust_domain", "Example.org", "a trust domain has 1 to 255 lower-case letters"),
        ("authentication.trust_domain", "", "a trust domain has 1 to 255 lower-case letters"),
        ("authentication.remembered_identities", 0, "greater than 0"),
        ("quotas", {"bulk": {"calls": 1}}, 'the class "default" is missing'),
        ("quotas.default", {"calls": 0}, "greater than 0"),
        ("limits.max_request_bytes", -1, "greater than 0"),
        ("limits.request_timeout_seconds", 0, "greater than 0"),
        ("limits.default_deadline_seconds", -1, "greater than or equal to 0"),
        ("limits", {"default_deadline_seconds": 400}, '"default_deadline_seconds" is more than "max_deadline_seconds"'),
        ("replay.window_seconds", 0, "greater than 0"),
        ("audit.durability", "eventually", "Input should be 'deferred' or 'durable'"),
        ("audit.refuse_when_unwritable", "perhaps", "valid boolean"),
        ("logging.level", "warn", 'not a level; did you mean "warning"?'),
        ("logging.level", "loud", "not a level; known: critical, debug, error, info, warning"),
        ("logging.format", "xml", "Input should be 'json' or 'console'"),
        ("logging.allowed_calls_sample", 1.1, "less than or equal to 1"),
        ("shutdown.drain_seconds", -1, "greater than or equal to 0"),
        ("serving_loop", "fast", "Input should be 'pumped' or 'grpc'"),
        ("service", None, "valid dictionary"),
    ],
)
def test_a_bad_value_is_told_with_key_line_and_what_would_do(file: Path, place: str, value: Any, told: str) -> None:
    write(file, with_setting(place, value))
    [found] = problems(file)
    assert found.startswith("settings.yaml:")
    assert f'"{place}' in found
    assert told in found
    if not isinstance(value, (dict, list)):
        assert f" is {value!r}: " in found


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("LISTEN__ADDRESS", "nowhere", "\"listen.address\" is 'nowhere': an address has a host and a port"),
        ("QUOTAS__DEFAULT__CALLS", "many", "\"quotas.default.calls\" is 'many': Input should be a valid integer"),
        ("AUTHENTICATION__TRUST_DOMAIN", "a/b", "\"authentication.trust_domain\" is 'a/b': a trust domain has 1 to "),
        ("AUTHENTICATION__ISSUERS", "[{", "\"authentication.issuers\" is '[{': "),
        ("LISTEN", "{", "\"listen\" is '{': "),
        ("QUOTAS", "ten", "\"quotas\" is 'ten': "),
    ],
)
def test_a_bad_value_of_the_environment_is_told_with_its_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    [found] = problems(file)
    assert found.startswith(f"environment variable {PREFIX}{variable}: {told}")


def test_what_is_missing_is_told(file: Path) -> None:
    data = {key: value for key, value in SOUND.items() if key not in {"audit", "tls"}}
    write(file, data | {"tls": {}})
    keys = ("tls.certificate_file", "tls.key_file", "tls.client_ca_file", "audit")
    assert sorted(told.partition(": ")[2] for told in problems(file)) == sorted(
        f'"{key}" is missing; add it' for key in keys
    )


def test_tokens_need_an_issuer(file: Path) -> None:
    write(file, with_setting("authentication.issuers", []))
    [found] = problems(file)
    assert 'tokens are asked for, but no issuer of tokens is named under "issuers"' in found
    certificate = with_setting("authentication.issuers", [])
    certificate["authentication"]["credentials"] = "certificate"
    write(file, certificate)
    assert load(file).authentication.issuers == ()


@pytest.mark.parametrize("text", ["- a\n", "5\n", "1: a\n"])
def test_what_is_no_map_is_refused(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    assert problems(file) == ["settings.yaml: is no map of settings; see docs/settings.md"]


# --- who can reach the numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "metrics.example.org:9464"])
def test_numbers_that_anybody_could_read_keep_the_service_from_starting(file: Path, address: str) -> None:
    write(file, with_setting("listen.admin_address", address))
    [found] = problems(file)
    assert found.startswith("settings.yaml:")
    assert f'"admin_address" {address} can be reached from elsewhere, in plaintext' in found
    assert '"admin.tls: true"' in found
    assert '"listen.probe_address" for the kubelet' in found


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.1.2.3:9464", "[::1]:9464", "localhost:9464"])
def test_on_loopback_the_numbers_need_no_tls(file: Path, address: str) -> None:
    write(file, with_setting("listen.admin_address", address))
    assert load(file).listen.admin_address == address


@pytest.mark.parametrize(
    ("admin", "told"),
    [
        ({"tls": True}, "come together: name the SPIFFE IDs that may scrape"),
        ({"allowed_workloads": ["spiffe://example.org/a"]}, "come together"),
        ({"tls": True, "allowed_workloads": ["prometheus"]}, "a SPIFFE ID begins with spiffe://"),
    ],
)
def test_tls_of_the_admin_port_answers_those_who_are_named(file: Path, admin: Any, told: str) -> None:
    write(file, with_setting("admin", admin))
    [found] = problems(file)
    assert '"admin"' in found
    assert told in found


def test_with_tls_the_numbers_may_be_anywhere(file: Path) -> None:
    settings = with_setting("admin", {"tls": True, "allowed_workloads": ["spiffe://example.org/a"]})
    settings["listen"] = {"admin_address": "0.0.0.0:9464"}
    write(file, settings)
    assert load(file).admin.tls
