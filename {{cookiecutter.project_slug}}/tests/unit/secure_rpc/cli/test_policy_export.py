"""`policy export`: what it takes from the settings and the service."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from secure_rpc.cli.main import build
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.cli.policy_export import issuers_of, target_of
from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application
from secure_rpc.policy.export.common import Target
from secure_rpc.settings import Settings, load

SETTINGS = Path("config/dev.yaml")
MODULE = "exported_application"


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the settings of a service that has no methods of its own, whose policy gives alice something."""
    module = ModuleType(MODULE)
    monkeypatch.setattr(module, "APPLICATION", Application(lambda _: [], lambda _: None), raising=False)
    monkeypatch.setitem(sys.modules, MODULE, module)
    data = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
    (issuer,) = data["authentication"]["issuers"]
    issuer["jwks_file"] = str(tmp_path / "jwks.json")
    (tmp_path / "jwks.json").write_text('{"keys": []}', encoding="utf-8")
    policy: dict[str, Any] = {"version": 1, "roles": {"r": {"permissions": ["reflection.read"]}}}
    policy["bindings"] = [{"role": "r", "principals": [{"issuer": issuer["issuer"], "subject": "alice"}]}]
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    data["authorization"]["policy_file"] = str(tmp_path / "policy.yaml")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return tmp_path / "settings.yaml"


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(build(MODULE), ["policy", "export", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("mesh", ["envoy", "istio", "linkerd"])
def test_rules_go_to_standard_output_and_what_they_do_not_say_to_the_other(probe: Path, mesh: str) -> None:
    code, out, err = run(mesh, "--config", str(probe), "--namespace", "shop")
    assert code == 0
    assert list(yaml.safe_load_all(out))
    assert "ServerReflection" in out
    assert "/grpc.health.v1.Health/Check" in out or "service: grpc.health.v1.Health" in out
    assert err.startswith(f"{err.split()[0]} things that {mesh} cannot say:\n")
    assert "r is for own tenants only" in err
    assert int(err.split()[0]) == len(err.splitlines()) - 1
    assert ("namespace: shop" in out) is (mesh != "envoy")


def test_rules_go_to_a_file(probe: Path, tmp_path: Path) -> None:
    code, out, _ = run("istio", "--config", str(probe), "--out", str(tmp_path / "istio.yaml"))
    assert (code, out) == (0, "")
    assert "RequestAuthentication" in (tmp_path / "istio.yaml").read_text(encoding="utf-8")
    code, _, err = run("istio", "--config", str(probe), "--out", str(tmp_path / "none" / "istio.yaml"))
    assert (code, "cannot be written" in err) == (EX_CONFIG, True)


def test_a_policy_that_names_what_there_is_not_is_not_exported(probe: Path) -> None:
    policy = probe.with_name("policy.yaml")
    policy.write_text(policy.read_text(encoding="utf-8").replace("reflection.read", "reflection.rad"), encoding="utf-8")
    code, out, err = run("envoy", "--config", str(probe))
    assert (code, out) == (EX_CONFIG, "")
    assert "reflection.read" in err


@pytest.fixture
def settings() -> Settings:
    return load(SETTINGS)


def test_labels_choose_the_pods(settings: Settings) -> None:
    name = settings.service.name
    assert target_of(settings, "", []) == Target(name, {"app": name}, "", 50051)
    assert target_of(settings, "shop", ["app=a", "tier=b=c"]).selector == {"app": "a", "tier": "b=c"}
    with pytest.raises(ConfigurationError, match="--selector app: is no label"):
        target_of(settings, "", ["app"])


def test_keys_are_read_only_where_they_are_wanted(settings: Settings) -> None:
    (configured,) = settings.authentication.issuers
    absent = configured.model_copy(update={"jwks_file": Path("none.json"), "certificate_bound": True})
    authentication = settings.authentication.model_copy(update={"issuers": (absent,)})
    changed = settings.model_copy(update={"authentication": authentication})
    (issuer,) = issuers_of(changed, with_keys=False)
    assert (issuer.jwks_file, issuer.jwks, issuer.audiences) == ("none.json", "", configured.audiences)
    assert "bound to the caller's certificate" in issuer.further_checks
    with pytest.raises(ConfigurationError, match=r"none\.json"):
        issuers_of(changed, with_keys=True)
