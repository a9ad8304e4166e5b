"""A public API with OAuth2: partners get tokens by themselves, and do what their scopes say, as often as they may.

Who is there: a partner's shop and a partner's warehouse, each with an id and a secret at the authorization server,
which gives tokens that say nothing by themselves; the API, which asks the server about them (RFC 7662).
What they want: a scope is a right, a revoked token is worth nothing, and one partner's flood is not the other's.
What may go wrong: a token without the scope gets through; each call asks the authorization server; a revocation is
noticed never; a client that is over its quota hammers on, instead of coming again when it was told.
"""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.client_retry import when_allowed
from secure_rpc.dev.authority import Authority
from secure_rpc.platform import Application
from secure_rpc.token_sources import TokenEndpoint, client_credentials

from support.clocks import Clock
from support.https import HttpsServer, Seen, https_server, json_of
from support.parties import Party, party, refusals
from support.sessions import said
from support.target import AUDIENCE, ISSUER, Target, run_target

PROVIDER = "https://login.example.org"
CACHE_SECONDS = 30
QUOTA, PERIOD_SECONDS = 3, 30
# scopes come as one text with spaces in it (RFC 7662, section 2.2)
POLICY = rf"""
version: 1
roles:
  api: {{ permissions: [probe.call] }}
bindings:
  - name: partners with the scope
    role: api
    principals: [{{ issuer: "{PROVIDER}", group: partners }}]
    condition: 'principal.claims.scope.matches("(^| )orders[.]read( |$)")'
"""


class Provider:
    """An authorization server: client credentials, introspection, revocation."""

    def __init__(self, server: HttpsServer) -> None:
        self.server = server
        self.scopes = {"shop": "profile orders.read", "warehouse": "profile orders.ready"}
        self.tokens: dict[str, str] = {}  # whose each one is
        server.answer = self.answer

    def answer(self, seen: Seen) -> Any:
        if seen.path == "/token":
            name, _, secret = base64.b64decode(seen.headers["authorization"].partition(" ")[2]).decode().partition(":")
            if secret != f"secret-of-{name}" or seen.form["grant_type"] != "client_credentials":
                return json_of({"error": "invalid_client"}, 401)
            token = secrets.token_urlsafe(16)
            self.tokens[token] = name
            return json_of({"access_token": token, "token_type": "Bearer", "expires_in": 3600})
        name = self.tokens.get(seen.form["token"], "")
        said_of = {"sub": name, "aud": AUDIENCE, "scope": self.scopes.get(name, ""), "groups": ["partners"]}
        return json_of({"active": bool(name), **said_of, "iat": 0, "exp": 9_999_999_999})

    def asked(self) -> Counter[str]:
        return Counter(seen.path for seen in self.server.seen)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with https_server(tmp_path / "provider", Authority.create("the provider's CA")) as server:
        yield Provider(server)


@pytest.fixture
async def api(application: Application, tmp_path: Path, provider: Provider) -> AsyncIterator[Target]:
    opaque = {
        "issuer": PROVIDER,
        "audiences": [AUDIENCE],
        "introspection": {"url": f"{provider.server.url}/introspect", "cache_seconds": CACHE_SECONDS},
        "fetch": {"ca_file": provider.server.ca_file, "timeout_seconds": 20},
    }
    own = {"issuer": ISSUER, "jwks_file": tmp_path / "dev" / "jwks.json", "audiences": [AUDIENCE]}
    settings = {
        "authentication": {"issuers": [own, opaque]},
        "quotas": {"default": {"calls": QUOTA, "period_seconds": PERIOD_SECONDS}},
    }
    async with run_target(application, tmp_path, settings, policy=POLICY) as target:
        yield target


@pytest.fixture
def clock(api: Target) -> Clock:
    """Have time stand still for quotas, and for what is remembered of tokens."""
    stopped, platform = Clock(), api.service.server.platform
    [introspector] = platform.tokens.introspectors.values()
    keepers: tuple[Any, ...] = (platform._quotas, platform.identities, introspector)
    for each in keepers:
        each._clock = stopped
    return stopped


@asynccontextmanager
async def partner(api: Target, provider: Provider, name: str, secret: str = "") -> AsyncIterator[Party]:
    """Open a channel whose tokens come from the provider, one for as long as it lasts."""
    url, ca_file = f"{provider.server.url}/token", provider.server.ca_file
    endpoint = TokenEndpoint(url, name, secret or f"secret-of-{name}", ca_file=ca_file, timeout_seconds=20)
    try:
        async with party(api, name, client_credentials(endpoint, scope="orders.read")) as made:
            yield made
    finally:
        endpoint._client.close()


async def test_a_scope_is_a_right_and_the_provider_is_asked_once(api: Target, provider: Provider, clock: Clock) -> None:
    async with partner(api, provider, "shop") as shop, partner(api, provider, "warehouse") as warehouse:
        for _ in range(QUOTA):
            assert said(await shop.ask()) == ("OK", "")
            assert said(await warehouse.ask()) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert provider.asked() == {"/token": 2, "/introspect": 2}
    records = await api.service.audit_records()
    assert Counter((each["subject"], each["rule"]) for each in records if each["code"] == "OK") == {
        ("shop", "partners with the scope"): QUOTA
    }
    assert refusals(api, "PERMISSION_MISSING") == QUOTA
    assert not any(token in str(records) for token in provider.tokens)
    assert clock.now > 0


async def test_a_client_with_a_wrong_secret_calls_nobody_without_a_token(api: Target, provider: Provider) -> None:
    async with partner(api, provider, "shop", secret="guess") as shop:  # noqa: S106  # a wrong one
        told = await shop.ask()
    assert told.code is grpc.StatusCode.UNAVAILABLE
    assert "answered 401 invalid_client" in told.details
    assert api.calls == 0


async def test_a_revoked_token_is_worth_nothing_once_what_is_remembered_of_it_has_ended(
    api: Target, provider: Provider, clock: Clock
) -> None:
    async with partner(api, provider, "shop") as shop:
        assert said(await shop.ask()) == ("OK", "")
        provider.tokens.clear()
        assert said(await shop.ask()) == ("OK", "")  # as late as `cache_seconds` says
        clock.pass_(CACHE_SECONDS + 1)
        told = await shop.ask()
        assert said(told) == ("UNAUTHENTICATED", "TOKEN_INACTIVE")
    assert (await api.record_of(told))["subject"] == ""
    failures = api.service.metric(
        "secure_rpc_token_validation_failures_total", issuer=PROVIDER, reason="TOKEN_INACTIVE"
    )
    assert failures == 1


async def test_each_partner_has_a_quota_of_its_own_and_who_is_over_it_comes_again_when_told(
    api: Target, provider: Provider, clock: Clock
) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        clock.pass_(seconds)

    provider.scopes["warehouse"] = "orders.read"
    async with partner(api, provider, "shop") as shop, partner(api, provider, "warehouse") as warehouse:

        async def call() -> str:
            return str((await shop.call("Unary")).text)

        for _ in range(QUOTA + 2):
            answer = await when_allowed(call, domain="probe", within_seconds=600, sleep=wait, clock=clock)
            assert answer == "anything"
        assert said(await warehouse.ask()) == ("OK", "")
    assert len(waited) == refusals(api, "QUOTA_EXHAUSTED") == 2  # not once too early
    assert all(PERIOD_SECONDS / QUOTA - 1 < seconds < 1.2 * PERIOD_SECONDS / QUOTA for seconds in waited)
