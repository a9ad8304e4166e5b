"""What an adversary tries at the edge, and what must not happen to it: attacks on a real Envoy, as it is shipped."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import pytest

from tests.edge.calling import ID, SECONDS, bearer, connected, once, raw

if TYPE_CHECKING:
    import httpx

    from tests.edge.calling import Web
    from tests.edge.fixtures import NewEdge, NewWeb
    from tests.edge.running import Edge
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

GET = "/order_service.v1.OrderService/GetOrder"
NONE = {"tenant": "acme", "id": "none"}
Json = dict[str, Any]


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
