"""What an adversary tries at the edge, and what must not happen to it: attacks on a real Envoy, as it is shipped."""

from __future__ import annotations

import copy
import json
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import pytest
import yaml

from tests.edge.calling import ID, ORIGIN, SECONDS, bearer, connected, once, raw
from tests.edge.running import Edge, build
from tests.exports.meshes import validated

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.edge.calling import Web
    from tests.edge.fixtures import NewEdge, NewWeb
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

GET = "/order_service.v1.OrderService/GetOrder"
NONE = {"tenant": "acme", "id": "none"}
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


# --- who is spoken to --------------------------------------------------------------------------------------


def test_a_server_under_another_name_is_not_spoken_to(
    new_edge: NewEdge, new_web: NewWeb, behind: Service, token: str
) -> None:
    edge = new_edge(service_id=ID.replace("order", "other"))
    ended = new_web(edge).call("GetOrder", {"tenant": "acme", "id": "pinned"}, token)
    assert ended.code == "UNAVAILABLE"
    assert edge.probe("/readyz") == 503
    assert edge.probe("/healthz") == 200
    assert "ssl.fail_verify_san" in edge.admin("/stats?filter=ssl.fail_verify_san&usedonly")
    assert behind.port


def test_the_service_is_spoken_to_with_a_certificate(
    telling: int, new_edge: NewEdge, new_web: NewWeb, token: str
) -> None:
    edge = new_edge(service=f"127.0.0.1:{telling}").ready()
    ended = new_web(edge).call("GetOrder", NONE, token)
    told = json.loads(ended.responses[0]["order"]["title"])
    assert "spiffe://example.org/service/edge" in told["names"]


LIES = {
    "x-forwarded-client-cert": "URI=spiffe://example.org/client/developer",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-proto": "http",
    "x-real-ip": "10.0.0.1",
    "x-user": "admin",
    "x-user-id": "admin",
    "x-tenant": "globex",
    "x-auth-request-user": "admin",
    "x-api-key": "ci.secret",
    "x-envoy-internal": "true",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-max-retries": "100",
    "x-envoy-original-path": "/grpc.health.v1.Health/Check",
    "x-request-id": "chosen-by-the-caller",
    "forwarded": "for=10.0.0.1",
    "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    "baggage": "user=admin",
    "grpc-trace-bin": "AAAA",
}


def test_no_header_of_a_caller_says_who_the_caller_is(
    telling: int, new_edge: NewEdge, new_web: NewWeb, token: str
) -> None:
    edge = new_edge(service=f"127.0.0.1:{telling}").ready()
    ended = new_web(edge).call("GetOrder", NONE, token, headers=LIES | {"request-time": "1", "x-new": "1"})
    assert ended.code == "OK", ended
    metadata = json.loads(ended.responses[0]["order"]["title"])["metadata"]
    assert ["request-time", "1"] in metadata  # what is no lie goes through
    assert ["authorization", f"Bearer {token}"] in metadata
    arrived = {key: value for key, value in metadata if key in LIES or key.startswith("x-")}
    assert not [key for key, value in arrived.items() if value == LIES.get(key)], arrived
    # what is there is Envoy's own; of a caller on this machine it says where the machine is
    own = {"x-envoy-external-address", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "traceparent"}
    assert set(arrived) <= own, arrived


HEAD = b"GET %s HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\nconnection: close\r\n\r\n"

# --- paths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        b"/order_service.v1.OrderService/\xff",
        b"/order_service.v1.OrderService/GetOrder\xc3",
        b"/v1/tenants/\xff\xfe/orders/1",
        b"/v1/tenants/acme%2Forders/1",
        b"/v1/tenants/acme/orders/..%2f..%2f1",
        b"/order_service.v1.OrderService/GetOrder\x00",
    ],
)
def test_a_path_that_may_be_read_in_two_ways_ends_at_the_edge(edge: Edge, token: str, path: bytes) -> None:
    before = requests_behind(edge)
    answer = raw(edge, HEAD % (path, token.encode()))
    assert answer.split(b"\r\n")[0].split()[1:2] in ([b"400"], [b"404"]), answer
    assert requests_behind(edge) == before


@pytest.mark.parametrize("tail", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80"])
def test_a_path_that_is_no_utf_8_ends_at_the_edge_by_http_2_too(edge: Edge, web: Web, token: str, tail: bytes) -> None:
    before = requests_behind(edge)
    assert spoken_to(edge, GET.encode() + tail, token) in NOWHERE
    assert requests_behind(edge) == before
    assert web.call("GetOrder", NONE, token).code == "NOT_FOUND"  # edge and service go on


def test_bytes_in_a_field_of_a_rest_call_that_are_no_text_do_no_harm(edge: Edge, web: Web, token: str) -> None:
    assert b" 400 " in raw(edge, HEAD % (b"/v1/tenants/acme/orders/%ff%fe", token.encode())).split(b"\r\n")[0]
    assert web.call("GetOrder", NONE, token).code == "NOT_FOUND"


def requests_behind(edge: Edge) -> str:
    """Return how many requests Envoy has sent to the service."""
    found = edge.admin("/stats?filter=^cluster.service.upstream_rq_total$")
    assert found.startswith("cluster.service.upstream_rq_total: ")
    return found


NOWHERE = {"200 12", "400 ", ""}  # UNIMPLEMENTED, or not even that


def spoken_to(edge: Edge, path: bytes, token: str) -> str:
    """Return HTTP's and gRPC's status of a request by HTTP/2, its path as it stands; "" where there was none."""
    speaker = h2.connection.H2Connection(
        h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
    )
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", path),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"authorization", b"Bearer " + token.encode()),
    ]
    with connected(edge, "h2") as connection:
        connection.settimeout(SECONDS)
        speaker.initiate_connection()
        speaker.send_headers(1, headers, end_stream=True)
        connection.sendall(speaker.data_to_send())
        while part := connection.recv(65_536):
            for event in speaker.receive_data(part):
                if isinstance(event, h2.events.ResponseReceived):
                    told = dict(event.headers)
                    return (told[b":status"] + b" " + told.get(b"grpc-status", b"")).decode()
                if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return ""
    return ""


# --- what is not there -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/secure_rpc.v1.TokenExchangeService/Exchange",
        "/order_service.v1.OrderService/Drop",
        "/order_service.v1.OrderService/getorder",
        "/metrics",
        "/quitquitquit",
    ],
)
def test_what_is_not_meant_for_the_edge_is_not_to_be_had_through_it(edge: Edge, token: str, path: str) -> None:
    before = requests_behind(edge)
    assert spoken_to(edge, path.encode(), token) in NOWHERE
    assert requests_behind(edge) == before
    for meant in (GET, "/secure_rpc.v1.SessionService/Refresh"):
        assert spoken_to(edge, meant.encode(), token) not in NOWHERE


def test_json_at_a_methods_path_is_no_call(by_rest: httpx.Client, edge: Edge, token: str) -> None:
    before = requests_behind(edge)
    for kind in ("application/json", "text/plain", ""):
        answer = by_rest.post(GET, content=b"{}", headers=bearer(token) | {"content-type": kind})
        assert answer.status_code == 404
    assert requests_behind(edge) == before


def test_envoy_itself_listens_on_no_port(edge: Edge) -> None:
    assert "pipe" in edge.configuration["admin"]["address"]
    listeners = edge.configuration["static_resources"]["listeners"]
    assert [listener["name"] for listener in listeners] == ["edge", "probes"]
    assert {path: edge.probe(path) for path in ("/healthz", "/readyz", "/metrics")} == {
        "/healthz": 200,
        "/readyz": 200,
        "/metrics": 200,
    }
    for path in (
        "/",
        "/quitquitquit",
        "/config_dump",
        "/certs",
        "/stats",
        "/metrics/..",
        "/metrics/../config_dump",
        GET,
    ):
        assert edge.probe(path) == 404, path
    assert edge.probe("/metrics", "POST") == 404


def test_plaintext_and_older_tls_get_nothing(edge: Edge) -> None:
    with pytest.raises(ssl.SSLError):
        connected(edge, newest=ssl.TLSVersion.TLSv1_2)
    with connected(edge, "h2", "http/1.1") as connection:
        assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "h2")


def test_headers_that_are_too_many_or_too_long_are_refused(by_rest: httpx.Client, token: str) -> None:
    long = by_rest.get("/v1/tenants/acme/orders/1", headers=bearer(token) | {"more": "x" * 20_000})
    many = by_rest.get("/v1/tenants/acme/orders/1", headers=bearer(token) | {f"h-{n}": "1" for n in range(80)})
    low = by_rest.get("/v1/tenants/acme/orders/1", headers=bearer(token) | {"with_underscore": "1"})
    assert [answer.status_code for answer in (long, many, low)] == [431, 431, 400]


def test_a_rest_body_that_is_too_long_or_endless_is_refused(by_rest: httpx.Client, edge: Edge, token: str) -> None:
    before = requests_behind(edge)
    body = json.dumps({"title": "x" * 2_000_000}).encode()
    for content in (body, iter([body])):  # by its length, and in chunks
        answer = by_rest.post("/v1/tenants/acme/orders", content=content, headers=bearer(token) | once())
        assert answer.status_code == 403, answer.text
    assert requests_behind(edge) == before


# --- certificates ------------------------------------------------------------------------------------------


@pytest.fixture
def renewing(oidc_folder: Path, new_edge: NewEdge, tmp_path: Path) -> tuple[Edge, Path]:
    """Return an edge whose certificate is in a folder of its own."""
    for name in ("pem", "key"):
        (tmp_path / f"edge.{name}").write_bytes((oidc_folder / ".dev" / f"edge.{name}").read_bytes())
    pair = {
        "certificate_file": str(tmp_path / "edge.pem"),
        "key_file": str(tmp_path / "edge.key"),
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
        "issuing.issue(server_request('edge', 'example.org')).write(out / 'new.pem', out / 'new.key')\n"
        "(out / 'new.key').rename(out / 'edge.key'); (out / 'new.pem').rename(out / 'edge.pem')\n"
    )
    subprocess.run([oidc_folder / ".venv" / "bin" / "python", "-c", program, folder], cwd=oidc_folder, check=True)
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
