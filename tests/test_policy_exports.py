"""What a policy becomes for a mesh says what the policy says: tried with a real Envoy, held against Istio's schemas."""

from __future__ import annotations

import copy
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests.exports.meshes import Envoy, Json, bootstrap, installed, validated
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Make

pytestmark = pytest.mark.slow

EXPORTS = ROOT / "tests" / "exports"
ORDERS = "/shop.v1.Orders"
HEALTH = "/grpc.health.v1.Health/Check"
GET = f"{ORDERS}/Get"
PASSED, REFUSED, UNBELIEVED = "passed", "PERMISSION_DENIED", "UNAUTHENTICATED"

# what Envoy lets through and the service refuses, and the words by which the export says so
WIDER = {
    ("a reader and reporter", f"{ORDERS}/Refund"): "the condition of bindings[5] refunder",
    ("another API key", f"{ORDERS}/Pay"): "the user till of API keys",
    ("an API key through the stock", f"{ORDERS}/Pay"): "the user till of API keys",
}


class World(NamedTuple):
    """A policy, its callers, and what it was exported to."""

    folder: Path
    service: Path
    decided: dict[str, dict[str, bool]]
    lost: dict[str, list[str]]

    def exported(self, name: str) -> list[Json]:
        """Return the documents of an export."""
        return list(yaml.safe_load_all((self.folder / f"{name}.yaml").read_text(encoding="utf-8")))

    def call(self, envoy: Envoy, *jobs: tuple[str, str, str]) -> list[str]:
        """Return how calls ended; each has a caller, a method and, if it is not the caller's, an authorization."""
        ended: list[str] = world_program(self.service, do="call", folder=str(self.folder), port=envoy.port, jobs=jobs)
        return ended


def world_program(service: Path, **job: Any) -> Any:
    command = [service / ".venv" / "bin" / "python", EXPORTS / "world.py"]
    done = subprocess.run(
        command, cwd=service, input=json.dumps(job), check=False, text=True, encoding="utf-8", capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def meshes() -> Path:
    return installed(ROOT / "build" / "meshes")


@pytest.fixture(scope="module")
def generated(template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    """Return a service that was generated and set up."""
    folder = bake(tmp_path_factory.mktemp("exporting"), {}, template)
    made = make(folder, "setup")
    assert made.returncode == 0, made.stdout
    return folder


@pytest.fixture(scope="module")
def world(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return the world, the keys of its second issuer served by HTTPS."""
    folder = tmp_path_factory.mktemp("world")

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys = (folder / "second.json").read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(keys)))
            self.end_headers()
            self.wfile.write(keys)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    url = f"https://localhost:{server.server_port}/jwks"
    made = world_program(generated, do="prepare", folder=str(folder), jwks_url=url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield World(folder, generated, made["decided"], made["lost"])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def envoy(world: World, meshes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    yield from running(world, "envoy", meshes, tmp_path_factory)


@pytest.fixture(scope="module")
def envoy_with_opaque_tokens(world: World, meshes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    yield from running(world, "opaque", meshes, tmp_path_factory)


def running(world: World, name: str, meshes: Path, folders: pytest.TempPathFactory) -> Iterator[Envoy]:
    (exported,) = world.exported(name)
    started = Envoy(meshes, bootstrap(exported, world.folder), folders.mktemp("envoy"))
    yield started
    started.stop()


# --- Envoy -------------------------------------------------------------------------------------------------


def differing(world: World, envoy: Envoy) -> dict[tuple[str, str], tuple[bool, str]]:
    """Return where Envoy and the engine differ: what the one decides, and how the call ended at the other."""
    cells = [(caller, method) for caller, methods in world.decided.items() for method in methods]
    ended = world.call(envoy, *((caller, method, "") for caller, method in cells))
    assert len(ended) == len(cells) > 400
    found = {}
    for (caller, method), answer in zip(cells, ended, strict=True):
        allowed = world.decided[caller][method]
        if answer != (PASSED if allowed else REFUSED):
            found[caller, method] = (allowed, answer)
    return found


def test_envoy_decides_as_the_service_does(world: World, envoy: Envoy) -> None:
    assert differing(world, envoy) == dict.fromkeys(WIDER, (False, PASSED))
    assert world.decided["a reporter of globex"][f"{ORDERS}/Refund"]  # there the condition holds
    for cell, words in WIDER.items():
        assert [item for item in world.lost["envoy"] if words in item], cell


@pytest.mark.parametrize(("name", "code"), [("forged", UNBELIEVED), ("old", UNBELIEVED), ("for another", REFUSED)])
def test_envoy_ends_a_call_with_a_token_that_is_no_good(world: World, envoy: Envoy, name: str, code: str) -> None:
    shown = f"Bearer {{{name}}}"
    # of a public method the service does not look at the token, nor does Envoy
    jobs = [("alice", GET, shown), ("the stock", f"{ORDERS}/Sync", shown), ("alice", HEALTH, shown)]
    assert world.call(envoy, *jobs) == [code, code, PASSED]


def test_envoy_does_not_take_a_workload_for_one_without_a_token_that_shows_anything(world: World, envoy: Envoy) -> None:
    jobs = [("the stock", f"{ORDERS}/Sync", shown) for shown in ("Basic c3RvY2s6", "Bearer", "opaque")]
    assert PASSED not in world.call(envoy, *jobs)


def test_envoy_knows_no_other_methods(world: World, envoy: Envoy) -> None:
    others = [f"{ORDERS}/Drop", f"{ORDERS}/get", f"{GET}/", f"{GET}?x=1", f"/{GET}", "/shop.v1.Order/Get"]
    assert world.call(envoy, *(("alice", path, "") for path in others)) == [REFUSED] * len(others)


def test_envoy_lets_pass_as_any_user_who_shows_a_token_that_only_its_issuer_knows(
    world: World, envoy_with_opaque_tokens: Envoy
) -> None:
    opaque = "Bearer 2YotnFZFEjr1zCsicMWpAA"
    jobs = [
        ("a workload that nobody knows", GET, opaque),
        ("a workload that nobody knows", f"{ORDERS}/Purge", opaque),  # given to nobody
        ("a workload that nobody knows", f"{ORDERS}/Pay", opaque),  # given to a user through the gateway
        ("the gateway alone", f"{ORDERS}/Pay", opaque),
        ("the stock", f"{ORDERS}/Sync", opaque),  # given to the workload alone
        ("alice", GET, "Bearer {forged}"),
        ("alice", GET, "Bearer {old}"),
    ]
    expected = [PASSED, REFUSED, REFUSED, PASSED, REFUSED, REFUSED, REFUSED]
    assert world.call(envoy_with_opaque_tokens, *jobs) == expected
    assert [item for item in world.lost["opaque"] if "opaque tokens of https://issuer.example.org" in item]


def test_envoy_decides_by_jwts_as_before_where_opaque_tokens_are_taken_too(
    world: World, envoy_with_opaque_tokens: Envoy
) -> None:
    assert differing(world, envoy_with_opaque_tokens) == dict.fromkeys(WIDER, (False, PASSED))


# --- Istio and Linkerd -------------------------------------------------------------------------------------


def held_against_istio(meshes: Path, documents: list[Json]) -> list[str]:
    """Return what is wrong with each document."""
    done = subprocess.run(
        [meshes / "bin" / "python", EXPORTS / "istio_schema.py"],
        input=json.dumps(documents),
        check=True,
        text=True,
        capture_output=True,
    )
    problems: list[str] = json.loads(done.stdout)
    return problems


def test_istio_gets_what_its_schemas_know(world: World, meshes: Path) -> None:
    documents = [*world.exported("istio"), *world.exported("istio-opaque")]
    kinds = ["RequestAuthentication", "AuthorizationPolicy", "AuthorizationPolicy"]
    assert [document["kind"] for document in documents] == kinds
    assert held_against_istio(meshes, documents) == [""] * len(documents)


def test_a_field_that_istio_does_not_know_is_noticed(world: World, meshes: Path) -> None:
    tokens, policy = world.exported("istio")
    changed = [copy.deepcopy(document) for document in (tokens, policy, policy, policy)]
    changed[0]["spec"]["jwtRules"][0]["jwksUrl"] = "https://localhost/jwks"
    changed[1]["spec"]["rules"][0]["to"][0]["operation"]["path"] = [GET]
    changed[2]["spec"]["rules"][1]["when"][0]["value"] = "x"
    changed[3]["spec"]["selectors"] = {}
    problems = held_against_istio(meshes, changed)
    names = ["jwksUrl", "path", "value", "selectors"]
    assert [name in problem and "Extra inputs" in problem for name, problem in zip(names, problems, strict=True)] == [
        True
    ] * len(names)


def test_linkerd_gets_documents_that_fit_together(world: World) -> None:
    documents = world.exported("linkerd")
    found = {(document["kind"], document["metadata"]["name"]): document["spec"] for document in documents}
    assert len(found) == len(documents)
    assert {document["metadata"]["namespace"] for document in documents} == {"shop"}
    routed = []
    for (kind, name), spec in found.items():
        if kind == "GRPCRoute":
            assert [found[parent["kind"], parent["name"]]["accessPolicy"] for parent in spec["parentRefs"]] == ["deny"]
            assert ("AuthorizationPolicy", name) in found
            routed += [match["method"] for rule in spec["rules"] for match in rule["matches"]]
        if kind == "AuthorizationPolicy":
            assert (spec["targetRef"]["kind"], spec["targetRef"]["name"]) in found
            (needed,) = spec["requiredAuthenticationRefs"]  # Linkerd takes one MeshTLSAuthentication at most
            assert found[needed["kind"], needed["name"]]["identities"]
    open_to_some = {method for methods in world.decided.values() for method, allowed in methods.items() if allowed}
    assert sorted(f"/{method['service']}/{method['method']}" for method in routed) == sorted(open_to_some)


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def export(generated: Path) -> Any:
    def run(mesh: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(generated / ".venv" / "bin" / "order-service"), "policy", "export", mesh, *arguments]
        done = subprocess.run(command, cwd=generated, check=False, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_the_command_writes_what_envoy_takes(export: Any, world: World, meshes: Path, tmp_path: Path) -> None:
    done = export("envoy", "--out", str(tmp_path / "envoy.yaml"))
    assert done.stdout == ""
    assert "things that envoy cannot say:\n" in done.stderr
    text = (tmp_path / "envoy.yaml").read_text(encoding="utf-8")
    exported = yaml.safe_load(text)
    provider = exported["http_filters"][0]["typed_config"]["providers"]["https://issuer.example.org"]
    assert provider["local_jwks"] == {"filename": ".dev/jwks.json"}
    provider["local_jwks"]["filename"] = str(world.service / ".dev" / "jwks.json")
    assert validated(meshes, bootstrap(exported, world.folder), tmp_path) == ""
    provider["issuers"] = ["https://issuer.example.org"]
    assert "issuers" in validated(meshes, bootstrap(exported, world.folder), tmp_path)


def test_the_command_writes_what_istio_takes(export: Any, meshes: Path) -> None:
    done = export("istio", "--namespace", "shop", "--selector", "app=orders", "--selector", "tier=api")
    documents = list(yaml.safe_load_all(done.stdout))
    assert held_against_istio(meshes, documents) == ["", ""]
    for document in documents:
        assert document["metadata"]["namespace"] == "shop"
        assert document["spec"]["selector"] == {"matchLabels": {"app": "orders", "tier": "api"}}
    assert "- policy/policy.yaml:" in done.stdout.partition("---\n")[0]
