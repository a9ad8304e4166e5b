"""Values that would not do, or would let anybody read the numbers, are refused with key, value and what would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_rpc.settings import PREFIX, load

from support.settings_files import SOUND, problems, with_setting, write

pytestmark = pytest.mark.usefixtures("no_settings_around")


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
def test_a_bad_value_is_told_with_key_line_and_what_would_do(
    settings_file: Path, place: str, value: Any, told: str
) -> None:
    write(settings_file, with_setting(place, value))
    [found] = problems(settings_file)
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
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    [found] = problems(settings_file)
    assert found.startswith(f"environment variable {PREFIX}{variable}: {told}")


def test_what_is_missing_is_told(settings_file: Path) -> None:
    data = {key: value for key, value in SOUND.items() if key not in {"audit", "tls"}}
    write(settings_file, data | {"tls": {}})
    keys = ("tls.certificate_file", "tls.key_file", "tls.client_ca_file", "audit")
    assert sorted(told.partition(": ")[2] for told in problems(settings_file)) == sorted(
        f'"{key}" is missing; add it' for key in keys
    )


def test_tokens_need_an_issuer(settings_file: Path) -> None:
    write(settings_file, with_setting("authentication.issuers", []))
    [found] = problems(settings_file)
    assert 'tokens are asked for, but no issuer of tokens is named under "issuers"' in found
    certificate = with_setting("authentication.issuers", [])
    certificate["authentication"]["credentials"] = "certificate"
    write(settings_file, certificate)
    assert load(settings_file).authentication.issuers == ()


@pytest.mark.parametrize("text", ["- a\n", "5\n", "1: a\n"])
def test_what_is_no_map_is_refused(settings_file: Path, text: str) -> None:
    settings_file.write_text(text, encoding="utf-8")
    assert problems(settings_file) == ["settings.yaml: is no map of settings; see docs/settings.md"]


# --- who can reach the numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "metrics.example.org:9464"])
def test_numbers_that_anybody_could_read_keep_the_service_from_starting(settings_file: Path, address: str) -> None:
    write(settings_file, with_setting("listen.admin_address", address))
    [found] = problems(settings_file)
    assert found.startswith("settings.yaml:")
    assert f'"admin_address" {address} can be reached from elsewhere, in plaintext' in found
    assert '"admin.tls: true"' in found
    assert '"listen.probe_address" for the kubelet' in found


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.1.2.3:9464", "[::1]:9464", "localhost:9464"])
def test_on_loopback_the_numbers_need_no_tls(settings_file: Path, address: str) -> None:
    write(settings_file, with_setting("listen.admin_address", address))
    assert load(settings_file).listen.admin_address == address


@pytest.mark.parametrize(
    ("admin", "told"),
    [
        ({"tls": True}, "come together: name the SPIFFE IDs that may scrape"),
        ({"allowed_workloads": ["spiffe://example.org/a"]}, "come together"),
        ({"tls": True, "allowed_workloads": ["prometheus"]}, "a SPIFFE ID begins with spiffe://"),
    ],
)
def test_tls_of_the_admin_port_answers_those_who_are_named(settings_file: Path, admin: Any, told: str) -> None:
    write(settings_file, with_setting("admin", admin))
    [found] = problems(settings_file)
    assert '"admin"' in found
    assert told in found


def test_with_tls_the_numbers_may_be_anywhere(settings_file: Path) -> None:
    settings = with_setting("admin", {"tls": True, "allowed_workloads": ["spiffe://example.org/a"]})
    settings["listen"] = {"admin_address": "0.0.0.0:9464"}
    write(settings_file, settings)
    assert load(settings_file).admin.tls
