"""What is deployed is what Kubernetes and its operators take, safe, and the same as what the settings say."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests.deploying import shapes
from tests.deploying.agreement import Manifests, disagreements
from tests.deploying.tools import Json, answer, built, checkov, environment, kubectl
from tests.exports.meshes import bootstrap, installed, validated
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Make

pytestmark = pytest.mark.slow

PROGRAMS = ROOT / "tests" / "deploying"
OVERLAYS = ("dev", "prod", "istio", "istio-passthrough", "linkerd")
COMPONENTS = ("spiffe-csi", "edge-certificate")  # that no overlay has
ALL = (*OVERLAYS, *COMPONENTS)
REASON_WORDS = 4
LABEL = "app.kubernetes.io/name=order-service"


class Deployed(NamedTuple):
    """A service, and what its overlays become."""

    service: Path
    manifests: dict[str, list[Json]]
    folder: Path  # with the same, as files


@pytest.fixture(scope="module")
def deployed(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Deployed:
    """Return a service that was generated and set up, with the manifests of everything."""
    service = bake(tmp_path_factory.mktemp("deploying"), {}, template)
    made = make(service, "setup", "mesh")
    assert made.returncode == 0, made.stdout
    for component in COMPONENTS:
        overlay = service / "deploy" / "overlays" / component
        overlay.mkdir()
        kustomization = {
            "namespace": "order-service",
            "resources": ["../prod"],
            "components": [f"../../components/{component}"],
            "transformers": ["../../cluster-scoped"],
        }
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    manifests = {name: built(service / "deploy" / "overlays" / name) for name in ALL}
    folder = tmp_path_factory.mktemp("manifests")
    for name, documents in manifests.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return Deployed(service, manifests, folder)


# --- schemas -----------------------------------------------------------------------------------------------


def held(documents: list[Json]) -> list[str | None]:
    """Return what is wrong with each manifest, none for one of a kind that nothing here knows."""
    program = [environment("deploy") / "bin" / "python", PROGRAMS / "schemas.py"]
    by_schema = answer(list(program), documents)
    return [shapes.problems(each) if found is None else found for each, found in zip(documents, by_schema, strict=True)]


def test_every_manifest_is_as_its_schema_has_it(deployed: Deployed) -> None:
    every = [document for documents in deployed.manifests.values() for document in documents]
    documents = list({json.dumps(document): document for document in every}.values())
    found = held(documents)
    wrong = {f"{each['kind']} {each['metadata']['name']}": said for each, said in zip(documents, found, strict=True)}
    assert {name: said for name, said in wrong.items() if said != ""} == {}
    assert len({each["kind"] for each in documents}) > 20
    assert [each["kind"] for each in documents if shapes.misplaced(each)] == []


def test_a_field_that_a_schema_does_not_know_is_noticed(deployed: Deployed) -> None:
    first = {document["kind"]: document for documents in deployed.manifests.values() for document in documents}
    changed = copy.deepcopy(list(first.values()))
    for document in changed:
        document.get("spec", document)["unheardOf"] = 1
    found = held(changed)
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


def settings_of(deployed: Deployed, documents: list[Json], folder: Path) -> tuple[Json, dict[str, str]]:
    """Return the settings that pods have, read by the service's own code, and those of them that name files."""
    manifests = Manifests(documents)
    (volume,) = [each for each in manifests.pod["volumes"] if each["name"] == "settings"]
    config = folder / "settings.yaml"
    config.write_text(manifests.named("ConfigMap", volume["configMap"]["name"])["data"]["settings.yaml"], "utf-8")
    done = subprocess.run(
        [deployed.service / ".venv" / "bin" / "python", PROGRAMS / "settings.py", config],
        env={"PATH": os.environ["PATH"], **manifests.environment()},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    return read["settings"], read["files"]


@pytest.fixture(scope="module")
def promises(deployed: Deployed) -> Json:
    text = (deployed.service / "observability" / "objectives.yaml").read_text(encoding="utf-8")
    found: Json = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("name", ALL)
def test_manifests_and_settings_agree(deployed: Deployed, promises: Json, tmp_path: Path, name: str) -> None:
    documents = deployed.manifests[name]
    settings, files = settings_of(deployed, documents, tmp_path)
    assert len(files) >= 7
    assert disagreements(documents, settings, files, promises) == []


def container(documents: list[Json]) -> Json:
    found: Json = Manifests(documents).container
    return found


def the(documents: list[Json], kind: str, name: str = "order-service") -> Json:
    spec: Json = Manifests(documents).named(kind, name)["spec"]
    return spec


# of manifests, settings and their files; then the words by which it is noticed
BROKEN: dict[str, tuple[str, Callable[[list[Json], Json, dict[str, str]], Any], str]] = {
    "grpc port": ("prod", lambda _d, s, _f: s["listen"].update(address="0.0.0.0:50052"), "listen.address 50052"),
    "probe port": ("prod", lambda d, _s, _f: container(d)["ports"][1].update(containerPort=8081), "port probes"),
    "admin port": ("prod", lambda _d, s, _f: s["listen"].update(admin_address="127.0.0.1:9464"), "not reached"),
    "probe": ("prod", lambda d, _s, _f: container(d)["readinessProbe"]["httpGet"].update(path="/ready"), "/ready"),
    "service port": ("prod", lambda d, _s, _f: the(d, "Service")["ports"][0].update(port=443), "is 443"),
    "other pods": ("prod", lambda d, _s, _f: the(d, "Service")["selector"].update(app="x"), "selects other pods"),
    "open port": (
        "prod",
        lambda d, _s, _f: the(d, "NetworkPolicy")["ingress"][0]["ports"][0].update(port="rpc"),
        "names the port rpc",
    ),
    "policy path": (
        "prod",
        lambda _d, _s, f: f.update({"authorization.policy_file": "/etc/order-service/policy.yaml"}),
        "authorization.policy_file: nothing is mounted at /etc/order-service",
    ),
    "config path": (
        "prod",
        lambda d, _s, _f: container(d)["args"].__setitem__(2, "/etc/order-service/settings/prod.yaml"),
        "not prod.yaml",
    ),
    "subPath": ("prod", lambda d, _s, _f: container(d)["volumeMounts"][1].update(subPath="x"), "by subPath"),
    "audit": ("prod", lambda d, _s, _f: [m.update(readOnly=True) for m in container(d)["volumeMounts"]], "be written"),
    "key of a secret": (
        "prod",
        lambda d, _s, _f: the(d, "ExternalSecret", "redis")["data"][0].update(secretKey="pass"),
        "state.password_file: redis brings ['ca.crt', 'pass'], not password",
    ),
    "key of a bundle": (
        "prod",
        lambda d, _s, _f: the(d, "Bundle", "client-ca")["target"]["configMap"].update(key="ca.pem"),
        "tls.client_ca_file: tls brings ['tls.crt', 'tls.key'], not ca.crt",
    ),
    "secret of the certificate": (
        "prod",
        lambda d, _s, _f: the(d, "Certificate", "server").update(secretName="tls"),
        "tls.key_file: tls brings ['ca.crt'], not tls.key",
    ),
    "grace": ("prod", lambda _d, s, _f: s["shutdown"].update(grace_seconds=30.0), "may need 45 s"),
    "sidecar of istio": ("istio", lambda _d, s, _f: s["shutdown"].update(grace_seconds=26.0), "sidecar goes after 35"),
    "proxy of linkerd": (
        "linkerd",
        lambda _d, s, _f: s["shutdown"].update(grace_seconds=26.0),
        "sidecar goes after 35",
    ),
    "port of linkerd": ("linkerd", lambda d, _s, _f: the(d, "Server").update(port=50052), "Server is for port 50052"),
    "port that passes": (
        "istio-passthrough",
        lambda d, _s, _f: (
            Manifests(d)
            .deployment["spec"]["template"]["metadata"]["annotations"]
            .update({"traffic.sidecar.istio.io/excludeInboundPorts": "50052,9464"})
        ),
        "excludeInboundPorts is 50052,9464",
    ),
    "port of the filter": (
        "istio",
        lambda d, _s, _f: the(d, "EnvoyFilter")["configPatches"][0]["match"]["cluster"].update(portNumber=1),
        "EnvoyFilter is for another",
    ),
    "account": ("prod", lambda d, _s, _f: Manifests(d).pod.update(serviceAccountName="default"), "no ServiceAccount"),
    "trust domain": ("prod", lambda _d, s, _f: s["authentication"].update(trust_domain="other.org"), "names spiffe"),
    "namespace": ("prod", lambda d, _s, _f: Manifests(d).of("Namespace")[0]["metadata"].update(name="x"), "Namespace"),
    "name": ("prod", lambda _d, s, _f: s["service"].update(name="orders"), "service.name is orders"),
    "DNS": ("prod", lambda d, _s, _f: the(d, "Certificate", "server")["dnsNames"].pop(), "certificate names"),
    "keys of issuers": (
        "prod",
        lambda _d, s, _f: s["authentication"]["issuers"][0].update(jwks_url=None),
        "not fetched by HTTPS",
    ),
    "scaling": ("prod", lambda _d, s, _f: s["load"].update(max_concurrent_calls=200), "never lets it reach"),
    "scraped port": ("prod", lambda d, _s, _f: the(d, "ServiceMonitor")["endpoints"][0].update(port="x"), "scrapes x"),
    "scraped in plaintext": ("prod", lambda _d, s, _f: s["admin"].update(tls=False), "admin.tls is False"),
    "job": ("prod", lambda d, _s, _f: the(d, "ServiceMonitor").pop("jobLabel"), "the job of the ServiceMonitor"),
    "who scrapes": (
        "prod",
        lambda _d, s, _f: s["admin"].update(allowed_workloads=["spiffe://example.org/ns/ops/sa/prometheus"]),
        "are of {'ops'}",
    ),
    "expected of the server": (
        "prod",
        lambda d, _s, _f: the(d, "ServiceMonitor")["endpoints"][0]["tlsConfig"].update(serverName="x"),
        "expects x",
    ),
    "store": ("prod", lambda _d, s, _f: s["state"].update(redis_url="rediss://redis.redis.svc:6380"), "way is open to"),
    "no store": ("prod", lambda _d, s, _f: s.update(state=None), "come together"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_disagreement_is_noticed(deployed: Deployed, promises: Json, tmp_path: Path, what: str) -> None:
    name, change, words = BROKEN[what]
    documents = copy.deepcopy(deployed.manifests[name])
    settings, files = settings_of(deployed, documents, tmp_path)
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
