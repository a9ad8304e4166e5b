"""What the edge is made of: Envoy takes it, no timeout of it cuts a stream, certificates are renewed as it runs."""

from __future__ import annotations

import copy
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.edge.calling import ORIGIN, SECONDS, connected, once
from tests.edge.running import Edge, build
from tests.exports.meshes import validated

if TYPE_CHECKING:
    from pathlib import Path

    from tests.edge.calling import Web
    from tests.edge.fixtures import NewEdge, NewWeb
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

Json = dict[str, Any]


def manager_of(configuration: Json, listener: int = 0) -> Json:
    """Return the settings of HTTP of a listener."""
    (chain,) = configuration["static_resources"]["listeners"][listener]["filter_chains"]
    settings: Json = chain["filters"][0]["typed_config"]
    return settings


def routes_of(configuration: Json) -> list[Json]:
    (host,) = manager_of(configuration)["route_config"]["virtual_hosts"]
    routes: list[Json] = host["routes"]
    return routes


# --- the configuration -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_envoy_takes_each_configuration_without_a_warning(
    name: str, envoy: Path, oidc_folder: Path, behind: Service, tmp_path: Path
) -> None:
    assert behind.port  # the descriptors are there
    told = yaml.safe_load((oidc_folder / "deploy" / "edge" / "values.yaml").read_text(encoding="utf-8"))
    # as it is shipped, but for files that are on no developer's machine
    own = {
        key: value
        for key, value in told["edges"][name].items()
        if key in {"settings", "service", "keys", "page_folder"}
    }
    configuration = build(oidc_folder, tmp_path, {"keys": {}, "page_folder": None, **own})
    assert validated(envoy, configuration, tmp_path, oidc_folder) == ""


def test_a_feature_that_envoy_will_drop_is_noticed(envoy: Path, edge: Edge, tmp_path: Path) -> None:
    changed = copy.deepcopy(edge.configuration)
    routes_of(changed)[0]["match"]["headers"] = [{"name": "content-type", "exact_match": "application/grpc"}]
    assert "deprecated" in validated(envoy, changed, tmp_path, edge.service)


# --- streams -----------------------------------------------------------------------------------------------


def test_no_timeout_on_a_streams_way_is_there_to_cut_it(edge: Edge) -> None:
    manager = manager_of(edge.configuration)
    streams = [route for route in routes_of(edge.configuration) if "Orders" in route["match"].get("path", "")]
    assert [route["match"]["path"].rpartition("/")[2] for route in streams] == [
        "WatchOrders",
        "ImportOrders",
        "SyncOrders",
    ]
    for route in streams:
        action = route["route"]
        assert (action["timeout"], action["idle_timeout"]) == ("0s", "0s")
        assert set(action["max_stream_duration"].values()) == {"0s"}
        assert "retry_policy" not in action  # what was sent cannot be sent again
    assert manager["request_timeout"] == "0s"
    assert "max_stream_duration" not in manager["common_http_protocol_options"]
    assert "max_connection_duration" not in manager["common_http_protocol_options"]


def hurried(configuration: Json) -> None:
    """Have what may cut a request do so after a second in place of minutes."""
    manager = manager_of(configuration)
    manager["stream_idle_timeout"] = "1s"
    manager["common_http_protocol_options"]["idle_timeout"] = "1s"


def test_a_silent_stream_outlasts_every_timeout(new_edge: NewEdge, new_web: NewWeb, token: str) -> None:
    edge = new_edge(hurried).ready()
    watching, calling = new_web(edge), new_web(edge)
    made = calling.call("CreateOrder", {"tenant": "acme", "title": "before"}, token, headers=once())
    assert made.code == "OK"
    last = watching.call("WatchOrders", {"tenant": "acme"}, token, messages=1)
    assert last.code == "OK"
    watching.begin("WatchOrders", {"tenant": "acme"}, token, timeout_ms=0, messages=made_until_now(calling, token) + 1)
    time.sleep(4)  # longer than each timeout
    assert calling.call("CreateOrder", {"tenant": "acme", "title": "late"}, token, headers=once()).code == "OK"
    ended = watching.end()
    assert (ended.code, ended.responses[-1]["order"]["title"]) == ("OK", "late")
    # the same time cuts who sends nothing at all
    with connected(edge) as idle:
        assert idle.recv(1) == b""


def made_until_now(web: Web, token: str) -> int:
    """Return how many orders there are: a watcher past the last one is told the number of the last."""
    refused = web.call("WatchOrders", {"tenant": "acme", "after": 1_000_000}, token)
    assert refused.code == "OUT_OF_RANGE"
    made = web.call("CreateOrder", {"tenant": "acme", "title": "counted"}, token, headers=once())
    return int(made.responses[0]["order"]["id"])


# --- certificates ------------------------------------------------------------------------------------------


@pytest.fixture
def renewing(oidc_folder: Path, new_edge: NewEdge, tmp_path: Path) -> tuple[Edge, Path]:
    """Return an edge whose certificate is in a folder as Kubernetes mounts it: links by way of `..data`."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..data").symlink_to("..1")
    for name in ("tls.pem", "tls.key"):
        usual = oidc_folder / ".dev" / name.replace("tls", "edge")
        (tmp_path / "..1" / name).write_bytes(usual.read_bytes())
        (tmp_path / name).symlink_to(f"..data/{name}")
    pair = {
        "certificate_file": str(tmp_path / "tls.pem"),
        "key_file": str(tmp_path / "tls.key"),
        "watched_folder": str(tmp_path),
    }
    return new_edge(public=pair).ready(), tmp_path


def test_a_renewed_certificate_is_taken_up_without_a_restart(renewing: tuple[Edge, Path], oidc_folder: Path) -> None:
    edge, folder = renewing
    with connected(edge) as connection:
        first = connection.getpeercert(binary_form=True)
    program = (
        "import sys; from pathlib import Path; from secure_rpc.dev.authority import Authority, server_request\n"
        "dev, out = Path('.dev'), Path(sys.argv[1])\n"
        "issuing = Authority.load(dev / 'intermediate.pem', dev / 'intermediate.key')\n"
        "issuing.issue(server_request('edge', 'example.org')).write(out / 'tls.pem', out / 'tls.key')\n"
    )
    (folder / "..2").mkdir()
    command: list[str | Path] = [oidc_folder / ".venv" / "bin" / "python", "-c", program, folder / "..2"]
    subprocess.run(command, cwd=oidc_folder, check=True)
    (folder / "..data_tmp").symlink_to("..2")
    (folder / "..data_tmp").rename(folder / "..data")  # as the kubelet does it: all at once
    end = time.monotonic() + SECONDS
    while True:
        with connected(edge) as connection:
            if connection.getpeercert(binary_form=True) != first:
                break
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_origin_that_is_no_origin_is_refused_when_the_edge_is_built(oidc_folder: Path, tmp_path: Path) -> None:
    for origin in ("*", "https://*.example.org", "http://app.example.org", f"{ORIGIN}/", "null"):
        with pytest.raises(AssertionError, match="write scheme, host"):
            build(oidc_folder, tmp_path, {"origins": [origin]})
