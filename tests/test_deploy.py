"""What is deployed is what Kubernetes and its operators take, safe, and the same as what the settings say."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.deploying import shapes
from tests.deploying.agreement import Manifests, disagreements
from tests.deploying.breaking import BROKEN, the
from tests.deploying.deployed import ALL, OVERLAYS, Deployed
from tests.deploying.tools import Json, checkov, kubectl
from tests.exports.meshes import bootstrap, installed, validated
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Make

pytestmark = pytest.mark.slow

REASON_WORDS = 4
LABEL = "app.kubernetes.io/name=order-service"


@pytest.fixture(scope="module")
def deployed(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Deployed:
    """Return a service that was generated and set up, with the manifests of everything."""
    service = bake(tmp_path_factory.mktemp("deploying"), {}, template)
    made = make(service, "setup", "mesh")
    assert made.returncode == 0, made.stdout
    return Deployed(service, tmp_path_factory.mktemp("manifests"))


# --- schemas -----------------------------------------------------------------------------------------------


def test_every_manifest_is_as_its_schema_has_it(deployed: Deployed) -> None:
    documents, (found, _) = deployed.documents, deployed.held
    wrong = {f"{each['kind']} {each['metadata']['name']}": said for each, said in zip(documents, found, strict=True)}
    assert {name: said for name, said in wrong.items() if said != ""} == {}
    assert len({each["kind"] for each in documents}) > 20
    assert [each["kind"] for each in documents if shapes.misplaced(each)] == []


def test_a_field_that_a_schema_does_not_know_is_noticed(deployed: Deployed) -> None:
    changed, (_, found) = deployed.foreign, deployed.held
    assert {each["kind"] for each in changed} == {each["kind"] for each in deployed.documents}
    assert [each["kind"] for each, said in zip(changed, found, strict=True) if "unheardOf" not in (said or "")] == []


def test_a_namespace_where_none_belongs_is_noticed(deployed: Deployed) -> None:
    bundle = copy.deepcopy(Manifests(deployed.manifests["prod"]).named("Bundle", "client-ca"))
    assert not shapes.misplaced(bundle)
    bundle["metadata"]["namespace"] = "order-service"
    assert shapes.misplaced(bundle)


def test_names_are_looked_at_once_in_an_overlay(deployed: Deployed) -> None:
    for name, documents in deployed.manifests.items():
        names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in documents]
        assert len(set(names)) == len(names), name
        assert "values" not in [each["metadata"]["name"] for each in documents], name
        text = (deployed.folder / f"{name}.yaml").read_text(encoding="utf-8")
        assert "set-by-replacement" not in text, name


# --- safety ------------------------------------------------------------------------------------------------


def waivers(documents: list[Json]) -> dict[str, str]:
    """Return the reasons for which checks are waived, by check."""
    found = {}
    for document in documents:
        for name, value in document["metadata"].get("annotations", {}).items():
            if name.startswith("checkov.io/skip"):
                check, _, reason = value.partition("=")
                found[check] = reason
    return found


def unreasoned(documents: list[Json]) -> list[str]:
    """Return the checks that are waived without a reason in words."""
    return [check for check, reason in waivers(documents).items() if len(reason.split()) < REASON_WORDS]


def test_checkov_finds_nothing_that_is_not_waived_with_a_reason(deployed: Deployed, tmp_path: Path) -> None:
    hostile = copy.deepcopy(Manifests(deployed.manifests["dev"]).deployment)
    hostile["metadata"]["name"] = "hostile"
    hostile["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    for name in OVERLAYS:
        text = (deployed.folder / f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "hostile.yaml").write_text(yaml.safe_dump(hostile), encoding="utf-8")
    results = checkov(tmp_path)
    failed = [(each["check_id"], each["resource"]) for each in results["failed_checks"]]
    assert failed == [("CKV_K8S_20", "Deployment.order-service.hostile")]
    assert len(results["passed_checks"]) > 300
    used = {each["check_id"] for each in results["skipped_checks"]}
    assert used == set(waivers(deployed.manifests["prod"]))


def test_a_waiver_has_a_reason(deployed: Deployed) -> None:
    for documents in deployed.manifests.values():
        assert unreasoned(documents) == []
    changed = copy.deepcopy(deployed.manifests["prod"])
    annotations = Manifests(changed).deployment["metadata"]["annotations"]
    annotations["checkov.io/skip1"] = "CKV_K8S_11"
    annotations["checkov.io/skip2"] = "CKV_K8S_43=later"
    assert unreasoned(changed) == ["CKV_K8S_11", "CKV_K8S_43"]


# --- settings ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def promises(deployed: Deployed) -> Json:
    text = (deployed.service / "observability" / "objectives.yaml").read_text(encoding="utf-8")
    found: Json = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("name", ALL)
def test_manifests_and_settings_agree(deployed: Deployed, promises: Json, name: str) -> None:
    documents = deployed.manifests[name]
    settings, files = deployed.settings(name)
    assert len(files) >= 7
    assert disagreements(documents, settings, files, promises) == []


@pytest.mark.parametrize("what", BROKEN)
def test_each_disagreement_is_noticed(deployed: Deployed, promises: Json, what: str) -> None:
    name, change, words = BROKEN[what]
    documents = copy.deepcopy(deployed.manifests[name])
    settings, files = deployed.settings(name)
    change(documents, settings, files)
    assert words in "\n".join(disagreements(documents, settings, files, promises))


def test_the_number_that_scales_is_one_that_the_service_has(deployed: Deployed) -> None:
    platform = deployed.service / "src" / "secure_rpc" / "telemetry"
    text = "".join(path.read_text(encoding="utf-8") for path in platform.glob("*.py"))
    for metric in the(deployed.manifests["prod"], "HorizontalPodAutoscaler")["metrics"]:
        assert metric["type"] != "Pods" or f'"{metric["pods"]["metric"]["name"]}"' in text


# --- meshes ------------------------------------------------------------------------------------------------


def export_of(deployed: Deployed) -> list[str]:
    return [str(deployed.service / ".venv" / "bin" / "order-service"), "policy", "export"]


def exported(deployed: Deployed, *arguments: str) -> list[Json]:
    """Return the documents of an export of the policy as it stands."""
    done = subprocess.run(
        [*export_of(deployed), *arguments, "--config", "config/prod.yaml", "--selector", LABEL],
        cwd=deployed.service,
        env={**os.environ, "SECURE_RPC_AUTHORIZATION__POLICY_FILE": "policy/policy.yaml"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize(("mesh", "arguments"), [("istio", ["istio"]), ("linkerd", ["linkerd", "--opaque"])])
def test_a_mesh_gets_the_policy_as_it_stands(deployed: Deployed, mesh: str, arguments: list[str]) -> None:
    found = exported(deployed, *arguments)
    manifests = Manifests(deployed.manifests[mesh])
    assert len(found) >= 2
    for each in found:
        assert manifests.named(each["kind"], each["metadata"]["name"])["spec"] == each["spec"]
        if each["kind"] in {"RequestAuthentication", "AuthorizationPolicy"} and mesh == "istio":
            labels = manifests.deployment["spec"]["template"]["metadata"]["labels"].items()
            assert each["spec"]["selector"]["matchLabels"].items() <= labels


def test_rules_are_made_anew_when_the_policy_changes(deployed: Deployed, make: Make) -> None:
    rules = deployed.service / "deploy" / "overlays" / "istio" / "rules.yaml"
    before, policy = rules.read_text(encoding="utf-8"), deployed.service / "policy" / "policy.yaml"
    text = policy.read_text(encoding="utf-8")
    try:
        policy.write_text(text.replace("group: writers", "group: authors"), encoding="utf-8")
        assert make(deployed.service, "mesh").returncode == 0
        assert "authors" in rules.read_text(encoding="utf-8")
    finally:
        policy.write_text(text, encoding="utf-8")
    assert make(deployed.service, "mesh").returncode == 0
    assert rules.read_text(encoding="utf-8") == before


def test_opaque_rules_are_for_linkerd_alone(deployed: Deployed) -> None:
    command = [*export_of(deployed), "istio", "--opaque"]
    done = subprocess.run(command, cwd=deployed.service, check=False, capture_output=True, text=True)
    assert done.returncode == 78
    assert "is for Linkerd" in done.stderr


def test_envoy_takes_the_last_step_from_sidecar_to_service(deployed: Deployed, tmp_path: Path) -> None:
    manifests = Manifests(deployed.manifests["istio"])
    filtered = json.dumps(the(manifests.documents, "EnvoyFilter")["configPatches"][0]["patch"]["value"])
    (sds,) = [each for each in manifests.of("ConfigMap") if each["metadata"]["name"].startswith("sidecar-sds")]
    keys = deployed.service / ".dev"
    for name, text in sds["data"].items():
        for place, file in {"tls/tls.crt": "server.pem", "tls/tls.key": "server.key", "ca/ca.crt": "ca.pem"}.items():
            text = text.replace(f"/etc/sidecar/{place}", str(keys / file))  # noqa: PLW2901
        (tmp_path / name).write_text(re.sub("/etc/sidecar/(tls|ca)", str(keys), text), encoding="utf-8")
    cluster = {
        "name": "service",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "service"},
        **json.loads(filtered.replace("/etc/sidecar/sds", str(tmp_path))),
    }
    environment_of_envoy = installed(ROOT / "build" / "meshes")
    node = {"node": {"id": "sidecar", "cluster": "mesh"}}
    whole = {**bootstrap({"http_filters": [], "clusters": [cluster]}, keys), **node}
    assert validated(environment_of_envoy, whole, tmp_path) == ""
    broken = json.loads(json.dumps(whole).replace("match_typed_subject_alt_names", "match_typed_names"))
    assert "match_typed_names" in validated(environment_of_envoy, broken, tmp_path)


# --- make --------------------------------------------------------------------------------------------------


def test_make_prints_what_would_be_applied(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "kubectl").symlink_to(kubectl())
    done = subprocess.run(
        ["make", "-s", "manifests", "OVERLAY=istio"],
        cwd=deployed.service,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert list(yaml.safe_load_all(done.stdout)) == deployed.manifests["istio"]
