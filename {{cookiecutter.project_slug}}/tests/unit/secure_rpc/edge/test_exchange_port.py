"""The process beside Envoy: what it answers, that it asks the service once, and that it keeps and tells no token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import pem_of
from secure_rpc.dev.issuer import Caller
from secure_rpc.edge.exchange import Exchanger
from secure_rpc.edge.exchange_port import ExchangePort
from secure_rpc.platform import Application

from support.clocks import Clock
from support.hostile_tokens import claims_of
from support.target import POLICY, TRUST_DOMAIN, Target, run_target

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = "https://internal.example.org"
WORKLOAD = f"spiffe://{TRUST_DOMAIN}/client/developer"
BOUND = f"  - role: edge\n    principals: [{{ workload: '{WORKLOAD}' }}]\n"
POLICY_OF_AN_EDGE = POLICY.replace("roles:\n", "roles:\n  edge: { permissions: [tokens.exchange] }\n") + BOUND


class World:
    """A service that exchanges tokens, the process that has it do so, and Envoy's part played by a client."""

    def __init__(self, target: Target, channel: grpc.aio.Channel) -> None:
        self.target, self.channel = target, channel

    def token(self, **claims: Any) -> str:
        return self.target.service.issuer.token(Caller(subject="alice"), **claims)

    def exchanger(self, **said: Any) -> Exchanger:
        return Exchanger(self.channel, "invoices", **said)


def settings_in(folder: Path, *credentials: str) -> dict[str, Any]:
    (folder / "internal.key").write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    exchange = {"issuer": OURS, "key_file": folder / "internal.key", "audiences": ["invoices"]}
    return {"authentication": {"credentials": credentials, "exchange": exchange}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("edge")
    overrides = settings_in(folder, "certificate", "both")
    async with (
        run_target(application, folder, overrides, policy=POLICY_OF_AN_EDGE) as target,
        target.bare_channel(target.leaf()) as channel,
    ):
        yield World(target, channel)


class Asked:
    """Envoy's part."""

    def __init__(self, port: int) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)

    async def check(self, authorization: str = "", verb: str = "POST", path: str = "/a.B/C?q=1") -> httpx.Response:
        headers = {"authorization": authorization} if authorization else {}
        return await self._client.request(verb, f"/check{path}", headers=headers)

    async def numbers(self) -> str:
        return (await self._client.get("/metrics")).text

    async def health(self) -> int:
        return (await self._client.get("/healthz")).status_code

    async def close(self) -> None:
        await self._client.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def asked(world: World) -> AsyncIterator[Asked]:
    port = ExchangePort(world.exchanger(), "127.0.0.1:0")
    await port.start()
    asked = Asked(port.port)
    yield asked
    await asked.close()
    await port.stop()


# --- what Envoy is answered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_a_token_of_the_services_own_is_answered_whatever_is_called(
    world: World, asked: Asked, verb: str
) -> None:
    answer = await asked.check(f"Bearer {world.token()}", verb)
    assert answer.status_code == 200
    claims = claims_of(answer.headers["authorization"].removeprefix("Bearer "))
    assert (claims["iss"], claims["aud"], claims["sub"]) == (OURS, "invoices", "alice")
    assert claims["act"] == {"sub": WORKLOAD}  # who had it exchanged: the edge, by its certificate
    assert answer.content == b""


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic YTpi", "Bearer garbage", "Bearer a.b.c", "Bearer {token},Bearer {token}"]
)
async def test_what_is_no_token_is_unauthenticated(world: World, asked: Asked, authorization: str) -> None:
    answer = await asked.check(authorization.replace("{token}", world.token()))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert "authorization" not in answer.headers


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "another"}, {"iss": "https://evil.example.org"}])
async def test_a_token_that_the_service_does_not_believe_is_unauthenticated(
    world: World, asked: Asked, claims: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    token = world.token(**claims)
    with caplog.at_level(logging.DEBUG):
        answer = await asked.check(f"Bearer {token}")
    assert (answer.status_code, answer.text) == (401, "the token is not accepted")
    assert token.split(".")[2] not in caplog.text


async def test_health_and_numbers(world: World, asked: Asked) -> None:
    assert await asked.health() == 200
    token = world.token()
    for authorization in (f"Bearer {token}", f"Bearer {token}", "Bearer no"):
        await asked.check(authorization)
    numbers = await asked.numbers()
    for outcome, count in {"given": 1, "remembered": 1, "UNAUTHENTICATED": 1, "UNAVAILABLE": 0}.items():
        assert f'secure_rpc_edge_exchanges_total{{outcome="{outcome}"}} {count}.0' in numbers
    assert "secure_rpc_edge_exchange_remembered_tokens 1.0" in numbers


async def test_an_address_that_is_taken_is_told(world: World) -> None:
    first = ExchangePort(world.exchanger(), "127.0.0.1:0")
    try:
        with pytest.raises(ConfigurationError, match=r"cannot be had \(.*\); stop what uses it, or choose another"):
            ExchangePort(world.exchanger(), f"127.0.0.1:{first.port}")
    finally:
        await first.stop()


# --- a service that does not help ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "policy", "status", "told"),
    [
        (("certificate", "both"), POLICY, 403, "PERMISSION_DENIED PERMISSION_MISSING"),
        (("both",), POLICY_OF_AN_EDGE, 503, "UNAUTHENTICATED TOKEN_MISSING"),
    ],
    ids=["the edge has no permission", "the edge should show a token of its own"],
)
async def test_what_the_edge_lacks_is_told_apart_and_logged(  # a case each, and fixtures
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture, credentials: tuple[str, ...],
    policy: str, status: int, told: str,
) -> None:  # fmt: skip
    overrides = settings_in(tmp_path, *credentials)
    async with (
        run_target(application, tmp_path, overrides, policy=policy) as target,
        target.bare_channel(target.leaf()) as channel,
    ):
        world = World(target, channel)
        port = ExchangePort(world.exchanger(), "127.0.0.1:0")
        await port.start()
        asked, token = Asked(port.port), world.token()
        answer = await asked.check(f"Bearer {token}")
        await asked.close()
        await port.stop()
    assert answer.status_code == status
    assert told in caplog.text
    assert token not in caplog.text


async def test_a_service_that_is_away_is_unavailable(world: World) -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        port = ExchangePort(Exchanger(channel, "invoices"), "127.0.0.1:0")
        await port.start()
        asked = Asked(port.port)
        answers = [await asked.check(f"Bearer {world.token()}") for _ in range(2)]
        await asked.close()
        await port.stop()
    assert [answer.status_code for answer in answers] == [503, 503]


# --- what is remembered --------------------------------------------------------------------------------------------


async def test_a_token_is_remembered_until_a_quarter_of_its_life_is_left(world: World) -> None:
    clock = Clock()
    exchanger, token = world.exchanger(clock=clock), world.token()
    first = await exchanger.exchange(token)
    life = claims_of(first)["exp"] - clock()
    clock.pass_(life * 0.74)
    assert await exchanger.exchange(token) == first
    clock.pass_(life * 0.02)
    assert exchanger.known(token) == ""
    assert await exchanger.exchange(token) != first
    assert len(exchanger) == 1


async def test_as_many_are_remembered_as_it_says_and_the_one_unused_for_longest_goes(world: World) -> None:
    exchanger = world.exchanger(remembered_tokens=2)
    one, two, three = (world.token(jti=str(each)) for each in range(3))
    for token in (one, two, one, three):
        await exchanger.exchange(token)
    assert len(exchanger) == 2
    assert [bool(exchanger.known(token)) for token in (one, two, three)] == [True, False, True]


async def test_no_callers_token_is_kept(world: World) -> None:
    exchanger, token = world.exchanger(), world.token()
    await exchanger.exchange(token)
    assert token not in str(vars(exchanger))


async def test_all_who_wait_for_the_same_one_ask_once_and_one_that_leaves_takes_it_from_nobody(world: World) -> None:
    exchanger, token = world.exchanger(), world.token()
    waiting = [asyncio.create_task(exchanger.exchange(token)) for _ in range(5)]
    await asyncio.sleep(0)  # the first has asked by now
    waiting[0].cancel()
    given = set(await asyncio.gather(*waiting[1:]))
    assert len(given) == 1  # no two that the service gives are the same


async def test_a_refusal_is_not_remembered(world: World) -> None:
    exchanger = world.exchanger()
    for _ in range(2):
        with pytest.raises(Exception, match="the token is not accepted"):
            await exchanger.exchange(world.token(exp=1))
    assert len(exchanger) == 0
