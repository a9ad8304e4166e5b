"""`edge`: what it takes from settings and protos, and what it refuses to build."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from secure_rpc.cli.edging import issuers_through, methods_through, programs
from secure_rpc.configuration import ConfigurationError
from secure_rpc.edge.values import FILE, Keys, load
from secure_rpc.platform import Application
from secure_rpc.settings import Settings
from secure_rpc.settings import load as load_settings

NOTHING = Application(lambda _: [], lambda _: None)
SESSIONS = "secure_rpc.v1.SessionService"


@pytest.fixture
def settings() -> Settings:
    return load_settings(Path("config/dev.yaml"))


def test_methods_are_those_of_the_services_that_are_named(settings: Settings) -> None:
    found = {method.path: method for method in methods_through(NOTHING, settings, (SESSIONS, "grpc.health.v1.Health"))}
    names = descriptor_pool.Default().FindServiceByName(SESSIONS).methods_by_name
    assert {path for path in found if SESSIONS in path} == {f"/{SESSIONS}/{name}" for name in names}
    watch = found["/grpc.health.v1.Health/Watch"]
    assert (watch.is_public, watch.is_streaming, watch.is_annotated) == (True, True, False)
    with pytest.raises(ConfigurationError, match=f'there is no "secure_rpc.v1.Session"; did you mean "{SESSIONS}"'):
        methods_through(NOTHING, settings, ("secure_rpc.v1.Session",))


def test_an_issuer_whose_new_keys_would_not_be_noticed_is_refused(settings: Settings) -> None:
    (issuer,) = settings.authentication.issuers
    with pytest.raises(ConfigurationError, match="add its jwks_url, so that new keys are noticed"):
        issuers_through(settings, {}, "edges.dev.keys")
    keys = Keys(jwks_url="https://localhost:1/jwks", ca_file=Path("ca.pem"))
    (found,) = issuers_through(settings, {issuer.issuer: keys}, "edges.dev.keys")
    assert (found.jwks_url, found.jwks_file, found.ca_file) == (keys.jwks_url, "", "ca.pem")
    assert found.audiences == issuer.audiences
    with pytest.raises(ConfigurationError, match='the settings have no issuer "https://other'):
        issuers_through(settings, {"https://other.example.org": keys}, "edges.dev.keys")


def test_without_envoy_nothing_is_started(tmp_path: Path) -> None:
    edge = load(FILE).edge("dev")
    with pytest.raises(ConfigurationError, match="`make edge` installs it"):
        programs(edge, tmp_path, tmp_path / "envoy.yaml")
    binary = tmp_path / "lib" / "python3.11" / "site-packages" / "envoy" / "_bin" / "envoy"
    binary.parent.mkdir(parents=True)
    binary.touch()
    found = programs(edge, tmp_path, tmp_path / "envoy.yaml")
    assert next(iter(found)) == "service"
    assert found["edge"][0] == str(binary)
