"""Tokens are exchanged at the edge: a provider's for another audience come in, the service's own go on, no other."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from tests.edge.calling import bearer, once, rest
from tests.edge.running import SECONDS
from tests.oidc.service import INTERNAL, Service, issuer_of, policy_for, settings_in, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.edge.calling import Web
    from tests.edge.fixtures import NewEdge, NewWeb
    from tests.edge.running import Edge
    from tests.oidc.calling import Callers
    from tests.oidc.provider import Provider

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

AT_EDGE = "spiffe://example.org/service/edge"
AUDIENCE, EXTERNAL = "order-service", "page"
EXCHANGE = "/secure_rpc.v1.TokenExchangeService/Exchange"
ORDERS = "/v1/tenants/acme/orders"
NONE = {"tenant": "acme", "id": "none"}


class Exchange:
    """`edge exchange` as it is shipped, in a process of its own, for an edge.

    Args:
        edge: whose values it has.
        **values: that it has otherwise.

    """

    def __init__(self, edge: Edge, **values: object) -> None:
        self._edge = edge
        told = yaml.safe_load((edge.folder / "values.yaml").read_text(encoding="utf-8"))
        self.listen: str = told["edges"]["test"]["exchange"]["listen"]
        told["edges"]["test"] |= values
        self._values, self._log = edge.folder / "exchange.yaml", edge.folder / "exchange.log"
        self._values.write_text(yaml.safe_dump(told), encoding="utf-8")
        self.start()

    def start(self) -> None:
        program = self._edge.service / ".venv" / "bin" / "order-service"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "edge", "exchange", "--values", self._values, "--edge", "test"],
                cwd=self._edge.service,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> int:
        """End it as an orchestrator does, and return its exit code."""
        self._process.terminate()
        return self._process.wait(SECONDS)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")


def free_address() -> str:
    """Return an address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def service(oidc_folder: Path, oidc_files: Path, provider: Provider, callers: Callers) -> Iterator[Service]:
    """Return a service that takes tokens of its own issuer alone, and exchanges the provider's for the page."""
    internal = {"issuer": INTERNAL, "jwks_file": str(oidc_files / "exchange.json"), "audiences": [AUDIENCE]}
    external = issuer_of(provider, oidc_files, keys={"refresh_seconds": 1, "minimum_interval_seconds": 1})
    external |= {"audiences": [EXTERNAL]}
    external.pop("introspection")
    exchange = {
        "issuer": INTERNAL,
        "key_file": str(oidc_files / "exchange.key"),
        "audiences": [AUDIENCE],
        "issuers": [external],
    }
    path = settings_in(oidc_folder, oidc_files / "exchanging", [internal], policy_for(provider), exchange)
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["authentication"]["credentials"] = ["certificate", "both"]
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    policy = yaml.safe_load((path.parent / "policy.yaml").read_text(encoding="utf-8"))
    policy["bindings"].append({"role": "exchanger", "principals": [{"workload": AT_EDGE}]})
    (path.parent / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    started = Service(oidc_folder, path)
    yield started
    assert started.stop() == 0
    assert callers.find_whole(started)


def values_for(service: Service) -> dict[str, Any]:
    return {
        "settings": str(service.settings),
        "service": f"127.0.0.1:{service.port}",
        "exchange": {"listen": free_address()},
    }


@pytest.fixture(scope="module")
def edge(new_edge: NewEdge, service: Service) -> Edge:
    return new_edge(**values_for(service))


@pytest.fixture(scope="module")
def exchange(edge: Edge) -> Iterator[Exchange]:
    started = Exchange(edge)
    try:
        edge.ready()
        yield started
    finally:
        code = started.stop()
    assert code == 0, started.said()


@pytest.fixture(scope="module")
def web(new_web: NewWeb, edge: Edge) -> Web:
    return new_web(edge)


def claims(provider: Provider, **others: Any) -> dict[str, Any]:
    usual = {"iss": provider.issuer, "aud": EXTERNAL, "sub": "orders", "client_id": "orders"}
    return {**usual, "org": {"tenants": ["acme"]}, **others}


@pytest.fixture
def token(provider: Provider) -> str:
    """Return the provider's token of one who may read and write in acme, for the page."""
    return provider.sign(claims(provider))


# --- who gets through --------------------------------------------------------------------------------------


def test_a_token_for_the_page_gets_through_the_edge_and_is_worth_nothing_without_it(  # noqa: PLR0913, PLR0917  # fixtures
    web: Web, edge: Edge, exchange: Exchange, service: Service, callers: Callers, token: str
) -> None:
    refused = callers.call(service, token)
    assert (refused.code, refused.reason) == ("UNAUTHENTICATED", "TOKEN_ISSUER_UNKNOWN")
    made = web.call("CreateOrder", {"tenant": "acme", "title": "exchanged"}, token, headers=once())
    assert made.code == "OK", (made, exchange.said())
    record = service.record(code="OK", fields={"title": "exchanged"})
    assert (record["workload"], record["issuer"], record["subject"]) == (AT_EDGE, INTERNAL, "orders")
    assert service.record(method=EXCHANGE, code="OK")["workload"] == AT_EDGE
    by_grpc = callers.call(cast("Service", edge), token)  # which has a port, as a service has
    assert by_grpc.code == "OK", by_grpc
    with rest(edge) as client:
        assert client.get(f"{ORDERS}/none", headers=bearer(token)).status_code == 404


def test_a_token_is_exchanged_once(web: Web, edge: Edge, exchange: Exchange, provider: Provider) -> None:
    token = provider.sign(claims(provider, jti="once"))
    before = numbers(edge)
    assert {web.call("GetOrder", NONE, token).code for _ in range(5)} == {"NOT_FOUND"}
    after = numbers(edge)
    assert {name: after[name] - before[name] for name in ("given", "remembered")} == {"given": 1, "remembered": 4}
    assert exchange.listen


def numbers(edge: Edge) -> dict[str, float]:
    """Return what the process counts, from where Prometheus finds it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{edge.probes}/metrics/exchange", timeout=SECONDS) as response:
        lines = response.read().decode().splitlines()
    found = [line.partition('{outcome="')[2].split('"} ') for line in lines if "exchanges_total{" in line]
    return {name: float(value) for name, value in found}


def test_a_stream_ends_with_what_was_given_not_with_what_was_shown(web: Web, exchange: Exchange, token: str) -> None:
    made = web.call("CreateOrder", {"tenant": "acme", "title": "watched"}, token, headers=once())
    assert made.code == "OK", (made, exchange.said())
    watched = web.call("WatchOrders", {"tenant": "acme"}, token, messages=1)
    assert watched.responses
    ends = float(watched.headers["session-expires-at"])
    assert ends <= time.time() + 300 + 30  # of the exchanged one, and the leeway


# --- who does not ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"exp": 1_000_000_000}, id="expired"),
        pytest.param({"aud": "stock"}, id="for another"),
        pytest.param({"aud": AUDIENCE}, id="for the service"),
        pytest.param({"iss": "https://other.example.org"}, id="of another"),
        pytest.param({"iss": INTERNAL, "aud": AUDIENCE}, id="of the services own issuer"),
    ],
)
def test_a_token_that_is_no_good_is_not_exchanged(  # noqa: PLR0913, PLR0917  # fixtures
    web: Web, edge: Edge, exchange: Exchange, callers: Callers, provider: Provider, others: dict[str, Any]
) -> None:
    bad, before = provider.sign(claims(provider, **others)), numbers(edge)
    assert web.call("GetOrder", NONE, bad).code == "UNAUTHENTICATED"
    assert callers.call(cast("Service", edge), bad).code == "UNAUTHENTICATED"
    assert numbers(edge) == before  # Envoy has asked for nothing
    assert exchange.listen


def test_what_envoy_lets_through_and_the_service_does_not_believe_is_unauthenticated(
    web: Web, edge: Edge, exchange: Exchange, callers: Callers, provider: Provider
) -> None:
    bound = provider.sign(claims(provider, cnf={"x5t#S256": "somebody-elses"}))
    before = numbers(edge)
    assert web.call("GetOrder", NONE, bound).code == "UNAUTHENTICATED"
    assert callers.call(cast("Service", edge), bound).code == "UNAUTHENTICATED"
    with rest(edge) as client:
        answer = client.get(f"{ORDERS}/none", headers=bearer(bound))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert numbers(edge)["UNAUTHENTICATED"] == before["UNAUTHENTICATED"] + 3
    assert bound.split(".")[2] not in exchange.said()


def test_an_edge_that_may_exchange_nothing_has_its_callers_denied(  # noqa: PLR0913, PLR0917  # fixtures
    web: Web, edge: Edge, exchange: Exchange, service: Service, callers: Callers, provider: Provider
) -> None:
    file = service.settings.with_name("policy.yaml")
    kept = file.read_text(encoding="utf-8")
    policy = yaml.safe_load(kept)
    policy["bindings"] = [each for each in policy["bindings"] if each["role"] != "exchanger"]

    def ends(code: str) -> bool:
        return web.call("GetOrder", NONE, provider.sign(claims(provider, jti=str(time.time_ns())))).code == code

    file.write_text(yaml.safe_dump(policy), encoding="utf-8")
    try:
        assert until(lambda: ends("PERMISSION_DENIED"))
        other = provider.sign(claims(provider, jti="denied"))
        assert callers.call(cast("Service", edge), other).code == "PERMISSION_DENIED"
        assert "PERMISSION_MISSING" in exchange.said()
    finally:
        file.write_text(kept, encoding="utf-8")
    assert until(lambda: ends("NOT_FOUND"))


# --- what reaches the service ------------------------------------------------------------------------------


def test_the_service_never_sees_the_callers_token(
    telling: int, new_edge: NewEdge, new_web: NewWeb, service: Service, token: str
) -> None:
    values = values_for(service)
    edge = new_edge(**values | {"service": f"127.0.0.1:{telling}"})
    exchange = Exchange(edge, service=values["service"])
    try:
        edge.ready()
        ended = new_web(edge).call("GetOrder", NONE, token)
        assert ended.code == "OK", (ended, exchange.said())
        told = json.loads(ended.responses[0]["order"]["title"])["metadata"]
        (shown,) = [value for key, value in told if key == "authorization"]
        assert shown.startswith("Bearer ")
        assert shown != f"Bearer {token}"
        assert not [part for part in token.split(".")[1:] if part in str(told)]
    finally:
        assert exchange.stop() == 0
    assert not [part for part in token.split(".") if part in exchange.said()]
    assert not [part for part in token.split(".") if part in (edge.folder / "access.log").read_text(encoding="utf-8")]


# --- when it is away ---------------------------------------------------------------------------------------


def test_without_the_process_nobody_gets_through_and_with_it_all_is_well_again(
    web: Web, edge: Edge, exchange: Exchange, callers: Callers, token: str
) -> None:
    assert web.call("GetOrder", NONE, token).code == "NOT_FOUND"
    exchange.stop()
    try:
        assert web.call("GetOrder", NONE, token).code == "UNAVAILABLE"
        assert callers.call(cast("Service", edge), token).code == "UNAVAILABLE"
        with rest(edge) as client:
            assert client.get(f"{ORDERS}/none", headers=bearer(token)).status_code == 503
        assert until(lambda: edge.probe("/readyz") == 503)
        assert edge.probe("/healthz") == 200
    finally:
        exchange.start()
    assert until(lambda: web.call("GetOrder", NONE, token).code == "NOT_FOUND")
    edge.ready()


def test_what_needs_no_token_needs_no_process(new_edge: NewEdge, service: Service, tmp_path: Path, token: str) -> None:
    (tmp_path / "index.html").write_text("<title>page</title>")
    edge = new_edge(**values_for(service), page_folder=str(tmp_path))
    with rest(edge) as client:
        assert client.get("/").text == "<title>page</title>"
        assert client.get(f"{ORDERS}/none", headers=bearer(token)).status_code in {401, 503}  # its keys may be to come
