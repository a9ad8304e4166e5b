"""The edge as it is shipped, a real Envoy before a real service: who gets through, how, and who does not."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.edge.calling import ORIGIN, bearer, once, raw, rest

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.edge.calling import Web
    from tests.edge.fixtures import NewEdge, NewWeb
    from tests.edge.running import Edge
    from tests.oidc.calling import Callers
    from tests.oidc.provider import Provider
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

AUDIENCE = "order-service"
AT_EDGE = "spiffe://example.org/service/edge"
ORDERS = "/v1/tenants/acme/orders"


def order(title: str, tenant: str = "acme") -> dict[str, str]:
    return {"tenant": tenant, "title": title}


# --- gRPC-Web ----------------------------------------------------------------------------------------------


def test_a_page_calls_and_the_service_knows_user_and_edge(
    web: Web, edge: Edge, behind: Service, provider: Provider, token: str
) -> None:
    made = web.call("CreateOrder", order("by a page"), token, headers=once())
    assert made.code == "OK", made
    found = web.call("GetOrder", {"tenant": "acme", "id": made.responses[0]["order"]["id"]}, token)
    assert found.responses == made.responses
    record = behind.record(code="OK", fields={"title": "by a page"})
    assert (record["workload"], record["issuer"], record["subject"]) == (AT_EDGE, provider.issuer, "orders")
    assert record["proofs"] == ["certificate", "token"]
    assert edge.logged(trace_id=record["trace_id"])["path"] == "/order_service.v1.OrderService/CreateOrder"


def test_a_page_watches_a_stream(web: Web, token: str) -> None:
    titles = ["one", "two", "three"]
    for title in titles:
        assert web.call("CreateOrder", order(title), token, headers=once()).code == "OK"
    last = web.call("WatchOrders", {"tenant": "acme"}, token, messages=len(titles)).responses[-1]["sequence"]
    seen = web.call("WatchOrders", {"tenant": "acme", "after": int(last) - 1}, token, messages=1)
    assert [each["sequence"] for each in seen.responses] == [last]


def test_what_the_service_refuses_it_refuses_through_the_edge(
    web: Web, behind: Service, edge: Edge, token: str
) -> None:
    refused = web.call("GetOrder", {"tenant": "globex", "id": "none"}, token)
    assert refused.code == "PERMISSION_DENIED"
    call_id = refused.headers["correlation-id"]
    record = behind.record(call_id=call_id)
    assert edge.logged(trace_id=record["trace_id"])["grpc_status"] == "PERMISSION_DENIED"
    again = web.call("CreateOrder", order("no proof"), token)
    assert (again.code, again.message[:4]) == ("INVALID_ARGUMENT", "send")


# --- REST --------------------------------------------------------------------------------------------------


def test_rest_is_the_same_calls(by_rest: httpx.Client, behind: Service, token: str) -> None:
    made = by_rest.post(ORDERS, json={"title": "by rest"}, headers=bearer(token) | once())
    assert made.status_code == 200, made.text
    kept = made.json()["order"]
    assert (kept["tenant"], kept["title"]) == ("acme", "by rest")
    found = by_rest.get(f"{ORDERS}/{kept['id']}", headers=bearer(token))
    assert (found.status_code, found.json()) == (200, {"order": kept})
    record = behind.record(code="OK", fields={"title": "by rest"})
    assert (record["workload"], record["subject"], record["tenant"]) == (AT_EDGE, "orders", "acme")


def test_rest_streams_a_line_for_each_message(by_rest: httpx.Client, token: str) -> None:
    by_rest.post(ORDERS, json={"title": "a line"}, headers=bearer(token) | once()).raise_for_status()
    with by_rest.stream("GET", f"{ORDERS}:watch", headers=bearer(token)) as response:
        assert response.status_code == 200
        first = next(line for line in response.iter_lines() if line)
    assert json.loads(first)["sequence"] == "1"


def test_rest_is_under_the_same_rules(by_rest: httpx.Client, callers: Callers, provider: Provider, token: str) -> None:
    nobody = callers.token(provider, "gateway")  # known, and without a permission
    answers = {
        "no token": by_rest.get(f"{ORDERS}/1"),
        "no permission": by_rest.get(f"{ORDERS}/1", headers=bearer(nobody)),
        "another's tenant": by_rest.get("/v1/tenants/globex/orders/1", headers=bearer(token)),
        "no such thing": by_rest.get(f"{ORDERS}/none", headers=bearer(token)),
        "no proof": by_rest.post(ORDERS, json={"title": "x"}, headers=bearer(token)),
        "not valid": by_rest.post(ORDERS, json={"title": ""}, headers=bearer(token) | once()),
        "no such parameter": by_rest.get(f"{ORDERS}/1?owner=me", headers=bearer(token)),
        "tenant said twice": by_rest.post(ORDERS, json=order("x", "globex"), headers=bearer(token) | once()),
        "no JSON": by_rest.post(ORDERS, content=b"{", headers=bearer(token) | once()),
        "no such path": by_rest.get("/v2/orders", headers=bearer(token)),
        "not that verb": by_rest.delete(ORDERS, headers=bearer(token)),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "no token": 401,
        "no permission": 403,
        "another's tenant": 403,
        "no such thing": 404,
        "no proof": 400,
        "not valid": 400,
        "no such parameter": 400,
        "tenant said twice": 400,
        "no JSON": 400,
        "no such path": 404,
        "not that verb": 404,
    }


# --- tokens ------------------------------------------------------------------------------------------------


def claims(provider: Provider, **others: Any) -> dict[str, Any]:
    usual = {
        "iss": provider.issuer,
        "aud": AUDIENCE,
        "sub": "orders",
        "client_id": "orders",
        "org": {"tenants": ["acme"]},
    }
    return {**usual, **others}


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"exp": 1_000_000_000}, id="expired"),
        pytest.param({"aud": "stock"}, id="for another"),
        pytest.param({"iss": "https://other.example.org"}, id="of another"),
        pytest.param({"nbf": 4_000_000_000}, id="to come"),
    ],
)
def test_a_token_that_is_no_good_ends_at_the_edge(
    web: Web, by_rest: httpx.Client, edge: Edge, provider: Provider, others: dict[str, Any]
) -> None:
    bad = provider.sign(claims(provider, **others))
    assert web.call("GetOrder", {"tenant": "acme", "id": "none"}, bad).code == "UNAUTHENTICATED"
    assert by_rest.get(f"{ORDERS}/1", headers=bearer(bad)).status_code in {401, 403}
    assert edge.logged(original_path=f"{ORDERS}/1", upstream=None)


def test_a_call_without_a_token_and_one_that_was_altered_end_at_the_edge(web: Web, edge: Edge, token: str) -> None:
    head, payload, signature = token.split(".")
    for shown in ("", f"{head}.{payload}.{signature[::-1]}", "opaque", f"{head}.{payload}."):
        ended = web.call("GetOrder", {"tenant": "acme", "id": "none"}, shown)
        assert ended.code == "UNAUTHENTICATED", shown
        assert "correlation-id" not in ended.headers  # the service has not seen it
    assert edge.logged(grpc_status="UNAUTHENTICATED", upstream=None)


def test_a_new_key_of_the_issuer_is_taken_up_without_a_restart_and_an_old_one_is_forgotten(
    web: Web, callers: Callers, provider: Provider
) -> None:
    def comes_to(code: str, shown: str) -> bool:
        end = time.monotonic() + 30
        while (ended := web.call("GetOrder", {"tenant": "acme", "id": "none"}, shown).code) != code:
            assert time.monotonic() < end, ended
            time.sleep(0.2)
        return True

    old = callers.token(provider, "orders")
    assert comes_to("NOT_FOUND", old)
    provider.hook("rotate")
    assert comes_to("NOT_FOUND", callers.token(provider, "orders"))
    assert comes_to("NOT_FOUND", old)  # both keys are published
    provider.hook("retire")
    assert comes_to("UNAUTHENTICATED", old)


# --- origins -----------------------------------------------------------------------------------------------

PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-grpc-web"}


@pytest.mark.parametrize("path", ["/order_service.v1.OrderService/GetOrder", ORDERS])
def test_a_page_of_an_allowed_origin_may_ask(by_rest: httpx.Client, path: str) -> None:
    answer = by_rest.options(path, headers={"origin": ORIGIN, **PREFLIGHT})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in answer.headers["access-control-allow-headers"].split(", ")
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [f"{ORIGIN}.evil.example", "https://evil.example", "http://app.example.org", f"{ORIGIN}:8443", "null", "*"],
)
def test_a_page_of_another_origin_may_not(by_rest: httpx.Client, token: str, origin: str) -> None:
    answer = by_rest.options("/order_service.v1.OrderService/GetOrder", headers={"origin": origin, **PREFLIGHT})
    assert "access-control-allow-origin" not in answer.headers
    asked = by_rest.get(f"{ORDERS}/1", headers={"origin": origin, **bearer(token)})
    assert "access-control-allow-origin" not in asked.headers


# --- the page ----------------------------------------------------------------------------------------------


def test_a_page_is_there_for_everybody_and_nothing_else_is(new_edge: NewEdge, tmp_path: Path) -> None:
    (tmp_path / "page" / "assets").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "page" / "index.html").write_text("<title>page</title>")
    (tmp_path / "page" / "assets" / "main.js").write_text("1")
    edge = new_edge(page_folder=str(tmp_path / "page"), connect_to=["https://login.example.org"])
    with rest(edge) as client:
        page, script = client.get("/"), client.get("/assets/main.js")
        assert (page.status_code, page.text) == (200, "<title>page</title>")
        assert (script.text, script.headers["content-type"]) == ("1", "text/javascript; charset=utf-8")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self' https://login.example.org;" in policy
        assert {client.get(path).status_code for path in ("/secret.txt", "/assets/", "/index.html", "/assets")} == {401}
    for path in (
        b"/assets/../../secret.txt",
        b"/assets/..%2f..%2fsecret.txt",
        b"//secret.txt",
        b"/assets/%2e%2e/secret.txt",
    ):
        answer = raw(edge, b"GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % path)
        assert answer.split(b"\r\n")[0].split()[1] in {b"400", b"401"}, path
        assert b"secret" not in answer.partition(b"\r\n\r\n")[2]


# --- limits ------------------------------------------------------------------------------------------------


def test_too_many_calls_end_in_the_callers_own_tongue(new_edge: NewEdge, new_web: NewWeb, token: str) -> None:
    few = {"per_second": 1, "burst": 100, "per_address_per_second": 1, "per_address_burst": 3}
    edge = new_edge(rate=few).ready()
    web = new_web(edge)
    ended = [web.call("GetOrder", {"tenant": "acme", "id": "none"}, token) for _ in range(12)]
    assert {each.code for each in ended} == {"NOT_FOUND", "RESOURCE_EXHAUSTED"}
    assert {each.headers.get("retry-after") for each in ended if each.code == "RESOURCE_EXHAUSTED"} == {"1"}
    # before anybody is known: those without a token count, too
    assert "RESOURCE_EXHAUSTED" in {web.call("GetOrder", {"tenant": "acme", "id": "none"}).code for _ in range(12)}
    assert edge.logged(grpc_status="RESOURCE_EXHAUSTED", upstream=None)


def test_all_together_have_a_limit_too(new_edge: NewEdge, new_web: NewWeb, token: str) -> None:
    few = {"per_second": 1, "burst": 3, "per_address_per_second": 100, "per_address_burst": 100}
    web = new_web(new_edge(rate=few).ready())
    ended = [web.call("GetOrder", {"tenant": "acme", "id": "none"}, token).code for _ in range(12)]
    assert set(ended) == {"NOT_FOUND", "RESOURCE_EXHAUSTED"}
