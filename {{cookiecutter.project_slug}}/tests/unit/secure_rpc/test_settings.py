"""Settings come from a file and over it from the environment; what is wrong is said so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from secure_rpc.configuration import model_in
from secure_rpc.settings import Settings, load

from support.settings_files import METHOD, SOUND, problems, with_setting, write

pytestmark = pytest.mark.usefixtures("no_settings_around")

ENTRIES = {"issuers": ".0", "quotas": ".default", "contracts": f".{METHOD}", "federated_trust_domains": ".partner"}


# --- what is read ------------------------------------------------------------------------------------------------


def test_what_the_file_does_not_say_has_a_default(settings_file: Path) -> None:
    settings = load(settings_file)
    assert settings.service.name == "orders"
    assert settings.listen.address == "127.0.0.1:50051"
    assert settings.quotas["default"].calls == 10
    assert settings.authentication.issuers[0].leeway_seconds == 30
    assert settings.tls.minimum_version.value == "TLSv1.3"
    assert settings.audit.refuse_when_unwritable
    assert not settings.reflection.enabled


def test_no_more_than_what_has_no_default_need_be_said(settings_file: Path) -> None:
    data = {key: value for key, value in SOUND.items() if key != "quotas"}
    write(settings_file, data | {"authorization": {"policy_file": "policy.yaml"}})
    settings = load(settings_file)
    assert settings.quotas["default"].calls == 1000
    assert not settings.authorization.contracts


@pytest.mark.parametrize("name", ["dev.yaml", "prod.yaml"])
def test_the_settings_that_come_with_the_service_are_sound(name: str) -> None:
    settings = load(Path("config") / name)
    assert settings.tls.minimum_version.value == "TLSv1.3"
    assert settings.audit.refuse_when_unwritable


def test_the_environment_stands_over_the_file(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_RPC_SERVICE__NAME", "invoices")
    monkeypatch.setenv("secure_rpc_service__cluster", "eu-1")
    monkeypatch.setenv("SECURE_RPC_QUOTAS__BULK__CALLS", "3")
    monkeypatch.setenv("SECURE_RPC_AUTHENTICATION__TRUST_DOMAIN", "a.example")
    monkeypatch.setenv("SECURE_RPC_LIMITS", '{"max_connections": 5}')
    monkeypatch.setenv("SECURE_RPC_REMEMBERED_CALLERS", "7")
    settings = load(settings_file)
    assert (settings.service.name, settings.service.cluster) == ("invoices", "eu-1")
    assert (settings.quotas["bulk"].calls, settings.quotas["default"].calls) == (3, 10)
    assert settings.authentication.trust_domain == "a.example"
    assert (settings.limits.max_connections, settings.limits.max_concurrent_streams) == (5, 100)
    assert settings.remembered_callers == 7


def test_the_variable_that_names_the_file_is_no_setting(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_RPC_CONFIG", str(settings_file))
    assert load(settings_file).service.name == "orders"


def test_settings_do_not_change_once_they_are_read(settings_file: Path) -> None:
    settings = load(settings_file)
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
def test_an_unknown_key_is_refused_in_every_section_of_the_file(settings_file: Path, section: str) -> None:
    place = f"{section}.zzz_unknown".lstrip(".")
    write(settings_file, with_setting(place, 1))
    assert any(
        f'"{place}" is not known; ' in told and told.startswith("settings.yaml:") for told in problems(settings_file)
    )


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
def test_a_misspelt_key_is_told_with_line_and_what_was_meant(settings_file: Path, place: str, meant: str) -> None:
    write(settings_file, with_setting(place, 1))
    text = settings_file.read_text(encoding="utf-8").splitlines()
    key = place.rpartition(".")[2]
    line = next(number for number, content in enumerate(text, start=1) if f"{key}:" in content)
    assert f'settings.yaml:{line}: "{place}" is not known; did you mean "{meant}"?' in problems(settings_file)


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
def test_an_unknown_variable_is_refused(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, told: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert problems(settings_file) == [told]


def test_a_key_that_stands_twice_is_refused(settings_file: Path) -> None:
    lines = settings_file.read_text(encoding="utf-8").splitlines()
    settings_file.write_text("\n".join([*lines, "audit:", "  file: other.log"]), encoding="utf-8")
    first = lines.index("audit:") + 1
    assert problems(settings_file) == [
        f'settings.yaml:{len(lines) + 1}: the key "audit" stands twice, first in line {first}; keep one'
    ]
