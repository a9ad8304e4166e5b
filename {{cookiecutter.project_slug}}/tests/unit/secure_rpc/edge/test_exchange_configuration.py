"""Where an edge exchanges tokens, no call gets past that, and no token of a caller's gets past Envoy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from secure_rpc.cli.edging import audience_through, issuers_through, programs
from secure_rpc.configuration import ConfigurationError
from secure_rpc.edge import building
from secure_rpc.edge.values import FILE, Exchange, Keys, load
from secure_rpc.settings import Settings
from secure_rpc.settings import load as load_settings

from support.edges import ABOUT, GET, filters, manager, routes, subject

LISTEN = "127.0.0.1:8481"
OURS = "https://internal.example.org"
KEYS = Keys(jwks_url="https://localhost:1/jwks")
WITH: dict[str, Any] = {"exchange": {"listen": LISTEN}}


def changed(credentials: tuple[str, ...] = ("certificate", "both"), audience: str = "orders", **said: Any) -> Settings:
    """Return settings of a service that exchanges tokens, and takes them for this audience."""
    settings = load_settings(Path("config/dev.yaml")).model_dump()
    exchange = {"issuer": OURS, "key_file": "internal.key", "audiences": ["orders"], **said}
    internal = {"issuer": OURS, "jwks_file": "internal.json", "audiences": [audience]}
    authentication = settings["authentication"]
    authentication["issuers"] = [*authentication["issuers"], internal]
    return Settings(
        **settings | {"authentication": {**authentication, "credentials": credentials, "exchange": exchange}}
    )


def external(settings: Settings) -> str:
    return next(each.issuer for each in settings.authentication.issuers if each.issuer != OURS)


def test_it_stands_between_the_verification_and_the_service_and_fails_closed() -> None:
    found = filters(subject(**WITH))
    assert list(found)[-3:] == ["jwt_authn", "ext_authz", "router"]
    exchange = found["ext_authz"]
    assert exchange["failure_mode_allow"] is False
    assert exchange["status_on_error"] == {"code": "ServiceUnavailable"}
    answer = exchange["http_service"]["authorization_response"]
    assert answer["allowed_upstream_headers"] == {"patterns": [{"exact": "authorization"}]}
    assert "ext_authz" not in filters(subject())


def test_only_what_needs_no_token_goes_without_and_takes_none_along() -> None:
    found = routes(subject(files={"/": Path("index.html")}, **WITH))
    without = {path for path, route in found.items() if "envoy.filters.http.ext_authz" in str(route)}
    assert without == {ABOUT.path, "/"}
    assert found[ABOUT.path]["request_headers_to_remove"] == ["authorization"]
    assert "request_headers_to_remove" not in found[GET.path]
    assert "ext_authz" not in str(routes(subject(files={"/": Path("index.html")})))


def test_it_is_spoken_to_on_this_machine_and_the_edge_is_ready_with_it_alone() -> None:
    resources = building.bootstrap(subject(**WITH))["static_resources"]
    (cluster,) = (each for each in resources["clusters"] if each["name"] == "exchange")
    assert "'address': '127.0.0.1', 'port_value': 8481" in str(cluster["load_assignment"])
    probes = resources["listeners"][1]["filter_chains"][0]["filters"][0]["typed_config"]
    ready = probes["http_filters"][1]["typed_config"]
    assert set(ready["cluster_min_healthy_percentages"]) == {"service", "exchange"}
    assert {"/metrics", "/metrics/exchange"} == {
        route["match"]["path"] for route in probes["route_config"]["virtual_hosts"][0]["routes"]
    }


def test_its_refusals_are_told_before_those_of_the_edge_itself() -> None:
    mappers = [str(each) for each in manager(subject(**WITH))["local_reply_config"]["mappers"]]
    assert ["UAEX" in each for each in mappers] == [True, True, True, False, False, False]
    assert "UAEX" not in str(manager(subject())["local_reply_config"])


@pytest.mark.parametrize("listen", ["0.0.0.0:8481", "10.0.0.1:8481", "exchange:8481", "127.evil.example:8481"])
def test_tokens_travel_in_plaintext_on_loopback_alone(listen: str) -> None:
    with pytest.raises(ValidationError, match=r"write an address of this machine alone, such as 127.0.0.1:8481"):
        Exchange(listen=listen)


def test_of_the_settings_it_takes_audience_and_issuers() -> None:
    settings = changed()
    assert audience_through(settings, Exchange(listen=LISTEN), "here") == "orders"
    keys = {external(settings): KEYS}
    assert [each.issuer for each in issuers_through(settings, keys, "keys", are_exchanged=True)] == [*keys]
    page = {"issuer": "https://login.example.org", "jwks_url": "https://login.example.org/jwks", "audiences": ["page"]}
    (only,) = issuers_through(changed(issuers=[page]), {}, "keys", are_exchanged=True)
    assert (only.issuer, only.audiences) == ("https://login.example.org", ("page",))


@pytest.mark.parametrize(
    ("settings", "audience", "told"),
    [
        (load_settings(Path("config/dev.yaml")), "", "the settings have no authentication.exchange; set it, or take"),
        (changed(audiences=["orders", "stock"]), "", r"here.audience: is not set; name one of orders, stock"),
        (changed(), "order", r'"order" is none of authentication.exchange.audiences; did you mean "orders"'),
        (changed(audience="stock"), "", f'the service takes no tokens of "{OURS}" for "orders"; add that'),
        (changed(credentials=("both",)), "", 'add "certificate" to authentication.credentials'),
    ],
)
def test_an_exchange_that_could_not_work_is_refused(settings: Settings, audience: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        audience_through(settings, Exchange(listen=LISTEN, audience=audience), "here")


def test_it_is_started_before_envoy_where_it_is_configured(tmp_path: Path) -> None:
    binary = tmp_path / "lib" / "python3.11" / "site-packages" / "envoy" / "_bin" / "envoy"
    binary.parent.mkdir(parents=True)
    binary.touch()
    edge = load(FILE).edge("dev")
    assert "exchange" not in programs(edge, tmp_path, tmp_path / "envoy.yaml")
    edge = edge.model_copy(update={"exchange": Exchange(listen=LISTEN)})
    found = programs(edge, tmp_path, tmp_path / "envoy.yaml", ("--edge", "dev"))
    assert found["exchange"][1:] == ["edge", "exchange", "--edge", "dev"]
    assert list(found)[-2:] == ["exchange", "edge"]
