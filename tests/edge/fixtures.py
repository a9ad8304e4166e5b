"""What the tests of an edge have in common: a service that believes a provider, an edge before it, and callers."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests import npm
from tests.edge import running
from tests.edge.calling import ID, ORIGIN, Web, rest
from tests.edge.running import EDGE, Edge
from tests.exports import meshes
from tests.oidc.service import Service, issuer_of, policy_for, settings_in
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from tests.conftest import Make
    from tests.oidc.calling import Callers
    from tests.oidc.provider import Provider


class NewEdge(Protocol):
    def __call__(self, change: Callable[[dict[str, Any]], object] = ..., **values: object) -> Edge: ...


class NewWeb(Protocol):
    def __call__(self, edge: Edge) -> Web: ...


@pytest.fixture(scope="session")
def envoy(oidc_folder: Path) -> Path:
    """Return where the Envoy is that the service's own lock names."""
    return meshes.installed(ROOT / "build" / "edge", oidc_folder / "requirements" / "edge.txt")


@pytest.fixture(scope="session")
def web_program(oidc_program: Path) -> Path:
    """Return the client's program, its packages installed; there is Node where there is a provider."""
    assert oidc_program.is_file()
    return npm.installed(EDGE / "client.mjs", ROOT / "build" / "edge-client")


@pytest.fixture(scope="session")
def behind(oidc_folder: Path, oidc_files: Path, provider: Provider, callers: Callers, make: Make) -> Iterator[Service]:
    """Return the service behind the edge: it believes the provider alone."""
    made = make(oidc_folder, "build/image.binpb")
    assert made.returncode == 0, made.stdout
    keys: dict[str, Any] = {"refresh_seconds": 1, "minimum_interval_seconds": 1}
    issuer = issuer_of(provider, oidc_files, keys=keys)
    issuer.pop("introspection")
    started = Service(oidc_folder, settings_in(oidc_folder, oidc_files / "behind", [issuer], policy_for(provider)))
    try:
        yield started
    finally:
        code = started.stop()
    assert code == 0
    assert callers.find_whole(started)


@pytest.fixture(scope="module")
def new_edge(
    envoy: Path, behind: Service, oidc_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewEdge]:
    """Start edges before the service; all end at the end."""
    started: list[Edge] = []

    def run(change: Callable[[dict[str, Any]], object] = lambda _: None, **values: object) -> Edge:
        usual = {
            "settings": str(behind.settings),
            "service": f"127.0.0.1:{behind.port}",
            "service_id": ID,
            "origins": [ORIGIN],
            "keys": {},
        }
        folder = tmp_path_factory.mktemp("edge") / "e"
        started.append(Edge(envoy, oidc_folder, folder, {**usual, **values}, change))
        return started[-1]

    yield run
    for edge in started:
        edge.stop()


@pytest.fixture(scope="module")
def edge(new_edge: NewEdge) -> Edge:
    return new_edge().ready()


@pytest.fixture(scope="module")
def new_web(web_program: Path) -> Iterator[NewWeb]:
    """Start clients by gRPC-Web; all end at the end."""
    started: list[Web] = []

    def run(edge: Edge) -> Web:
        started.append(Web(web_program, edge))
        return started[-1]

    yield run
    for web in started:
        web.stop()


@pytest.fixture(scope="module")
def web(new_web: NewWeb, edge: Edge) -> Web:
    return new_web(edge)


@pytest.fixture(scope="module")
def by_rest(edge: Edge) -> Iterator[httpx.Client]:
    with rest(edge) as client:
        yield client


@pytest.fixture
def token(callers: Callers, provider: Provider) -> str:
    """Return a token of one who may read and write in acme."""
    return callers.token(provider, "orders")


@pytest.fixture(scope="module")
def telling(oidc_folder: Path, behind: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a server that tells what reaches it, under the name that the edge looks for."""
    assert behind.port  # the service's certificates are there
    dev = oidc_folder / ".dev"
    files = {"certificate": dev / "server.pem", "key": dev / "server.key", "ca": dev / "ca.pem"}
    program = shutil.copy(EDGE / "upstream.py", tmp_path_factory.mktemp("upstream"))
    process = subprocess.Popen(
        [
            oidc_folder / ".venv" / "bin" / "python",
            program,
            json.dumps({name: str(file) for name, file in files.items()}),
        ],
        cwd=oidc_folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    said = process.stdout.readline()
    assert said
    yield int(json.loads(said)["port"])
    process.communicate(timeout=running.SECONDS)
