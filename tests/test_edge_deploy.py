"""The edge in a cluster is what Kubernetes takes, safe, and as its values and the service's manifests have it."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests.deploying.tools import answer, built, checkov, environment
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Make

pytestmark = pytest.mark.slow

Json = dict[str, Any]
REASON_WORDS = 4


class Deployed(NamedTuple):
    """A service, the manifests of its edge, and those of the overlay beside it."""

    service: Path
    edge: list[Json]
    prod: list[Json]

    def values(self) -> Json:
        """Return what the edge is told."""
        told = yaml.safe_load((self.service / "deploy" / "edge" / "values.yaml").read_text(encoding="utf-8"))
        found: Json = told["edges"]["prod"]
        return found


@pytest.fixture(scope="module")
def deployed(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Deployed:
    """Return a service whose edge's files were made."""
    service = bake(tmp_path_factory.mktemp("deploying-edge"), {}, template)
    made = make(service, "setup", "edge-files")
    assert made.returncode == 0, made.stdout
    return Deployed(service, built(service / "deploy" / "edge"), built(service / "deploy" / "overlays" / "prod"))


def one(documents: list[Json], kind: str, name: str) -> Json:
    (found,) = [each for each in documents if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
    return found


def pod(documents: list[Json], name: str) -> Json:
    found: Json = one(documents, "Deployment", name)["spec"]["template"]["spec"]
    return found


def test_every_manifest_is_as_its_schema_has_it(deployed: Deployed) -> None:
    program = [environment("deploy") / "bin" / "python", ROOT / "tests" / "deploying" / "schemas.py"]
    found = answer(list(program), deployed.edge)
    wrong = {each["kind"]: said for each, said in zip(deployed.edge, found, strict=True) if said != ""}
    assert wrong == {}
    changed = copy.deepcopy(deployed.edge)
    for document in changed:
        document.get("spec", document)["unheardOf"] = 1
    assert all("unheardOf" in said for said in answer(list(program), changed))


def test_checkov_finds_nothing_that_is_not_waived_with_a_reason(deployed: Deployed, tmp_path: Path) -> None:
    hostile = copy.deepcopy(one(deployed.edge, "Deployment", "edge"))
    hostile["metadata"]["name"] = "hostile"
    hostile["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
    for name, documents in (("edge", deployed.edge), ("hostile", [hostile])):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    results = checkov(tmp_path)
    failed = [(each["check_id"], each["resource"]) for each in results["failed_checks"]]
    assert failed == [("CKV_K8S_22", "Deployment.order-service.hostile")]
    annotations = one(deployed.edge, "Deployment", "edge")["metadata"]["annotations"]
    waived = dict(value.split("=", 1) for key, value in annotations.items() if key.startswith("checkov.io/skip"))
    assert {each["check_id"] for each in results["skipped_checks"]} == set(waived)
    assert all(len(reason.split()) >= REASON_WORDS for reason in waived.values())


def test_names_stand_once_beside_those_of_the_service(deployed: Deployed) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in [*deployed.edge, *deployed.prod]]
    assert len(set(names)) == len(names)
    spaces = {each["metadata"].get("namespace") for each in deployed.edge}
    assert spaces == {"order-service"}


def test_ports_are_those_that_the_edge_listens_on(deployed: Deployed) -> None:
    values = deployed.values()
    (envoy,) = pod(deployed.edge, "edge")["containers"]
    ports = {port["name"]: port["containerPort"] for port in envoy["ports"]}
    assert f"0.0.0.0:{ports['https']}" == values["listen"]
    assert f"0.0.0.0:{ports['probes']}" == values["probes"]
    paths = {name: envoy[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in paths.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in paths.values()} == {"probes"}
    (public,) = one(deployed.edge, "Service", "edge")["spec"]["ports"]
    assert (public["targetPort"], public["port"]) == ("https", 443)


def test_files_are_mounted_where_the_edge_looks_for_them(deployed: Deployed) -> None:
    values, spec = deployed.values(), pod(deployed.edge, "edge")
    (envoy,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    brought: dict[str, set[str]] = {}
    for mount in envoy["volumeMounts"]:
        assert "subPath" not in mount  # what is mounted so is never renewed
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            found = one(deployed.edge, "ConfigMap", volume["configMap"]["name"])
            brought[mount["mountPath"]] = {*found["data"], *found["binaryData"]}
        elif "projected" in volume:
            sources = [each.get("secret") or each["configMap"] for each in volume["projected"]["sources"]]
            brought[mount["mountPath"]] = {item["path"] for source in sources for item in source["items"]}
        elif "secret" in volume:
            brought[mount["mountPath"]] = {"tls.crt", "tls.key"}
        else:
            assert values["admin_socket"].rpartition("/")[0] == mount["mountPath"]
    asked = [values["descriptors_file"], values["authority"]["ca_file"], envoy["args"][1]]
    asked += [values[pair][file] for pair in ("public", "workload") for file in ("certificate_file", "key_file")]
    asked += [f"{values['secrets_folder']}/{name}.yaml" for name in ("public", "workload", "authority")]
    for path in asked:
        folder, _, name = path.rpartition("/")
        assert name in brought[folder], path
    for name in ("public", "workload", "authority"):
        assert values[name]["watched_folder"] in brought
    secrets = {each["spec"]["secretName"] for each in deployed.edge if each["kind"] == "Certificate"}
    assert {
        volumes["public"]["secret"]["secretName"],
        volumes["workload"]["projected"]["sources"][0]["secret"]["name"],
    } == secrets


def test_the_edge_and_the_service_know_each_other(deployed: Deployed) -> None:
    values = deployed.values()
    server = one(deployed.prod, "Certificate", "server")["spec"]
    assert values["service_id"] in server["uris"]
    host, _, port = values["service"].rpartition(":")
    assert host in server["dnsNames"]
    headless = one([each for each in deployed.prod if each["metadata"]["name"] == host], "Service", host)["spec"]
    assert headless["clusterIP"] == "None"  # the address of each pod: calls are balanced one by one
    assert [each["port"] for each in headless["ports"]] == [int(port)]
    way_out = one(deployed.edge, "NetworkPolicy", "edge")["spec"]["egress"]
    service = one(deployed.prod, "Deployment", "order-service")["spec"]["template"]["metadata"]["labels"]
    (to_service,) = [each for each in way_out if each["ports"] == [{"port": int(port)}]]
    assert to_service["to"][0]["podSelector"]["matchLabels"].items() <= service.items()
    way_in = one(deployed.edge, "NetworkPolicy", "from-edge")["spec"]
    assert way_in["podSelector"]["matchLabels"].items() <= service.items()
    edge = one(deployed.edge, "Deployment", "edge")["spec"]["template"]["metadata"]["labels"]
    assert way_in["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items() <= edge.items()
    (workload,) = one(deployed.edge, "Certificate", "edge-workload")["spec"]["uris"]
    assert workload == f"spiffe://example.org/ns/order-service/sa/{pod(deployed.edge, 'edge')['serviceAccountName']}"


def test_envoy_refuses_before_the_kernel_ends_it(deployed: Deployed) -> None:
    (envoy,) = pod(deployed.edge, "edge")["containers"]
    made = yaml.safe_load(one(deployed.edge, "ConfigMap", "envoy")["data"]["envoy.yaml"])
    (heap, _) = made["overload_manager"]["resource_monitors"]
    most = int(envoy["resources"]["limits"]["memory"].removesuffix("Mi")) * 2**20
    assert heap["typed_config"]["max_heap_size_bytes"] < 0.8 * most


def test_the_descriptors_arrive_as_they_were_made(deployed: Deployed) -> None:
    carried = one(deployed.edge, "ConfigMap", "envoy")["binaryData"]["descriptors.binpb"]
    assert base64.b64decode(carried) == (deployed.service / "build" / "image.binpb").read_bytes()
    assert len(carried) < 900_000  # of the 1 MiB that an object may have
