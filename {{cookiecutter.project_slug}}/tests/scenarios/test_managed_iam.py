"""Serverless, with a managed IAM in front: the platform's gateway knows the users, the function behind it must, too.

Who is there: alice and bob, users of a cloud's IAM, whose tokens say things in its own way; a gateway that ends their
connections and calls the function with a workload certificate of its own; a worker of another team in the same cloud.
What they want: the function sees alice behind the gateway, not a gateway that may do everything. The IAM is asked for
its keys once for each instance that starts, however many calls there are, and again only when it has new ones.
What may go wrong: the gateway's certificate is taken for a right; a token made for the gateway's hop is shown by
another workload; the IAM rotates its keys and a function that is up keeps to the old ones.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from secure_rpc.dev.authority import Authority, pem_of
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.exchange import jwks
from secure_rpc.platform import Application
from secure_rpc.settings import Exchange
from secure_rpc.v1 import exchange_pb2, exchange_pb2_grpc

from support.https import HttpsServer, https_server, json_of
from support.parties import Party, party, refusals, workload_id
from support.sessions import said
from support.target import AUDIENCE, ISSUER, Target, run_target

IAM, INTERNAL = "https://iam.cloud.example", "https://gateway.example.org"
GATEWAY = workload_id("gateway")
POLICY = f"""
version: 1
roles:
  user: {{ permissions: [probe.call] }}
  gateway: {{ permissions: [tokens.exchange] }}
bindings:
  - name: users through the gateway
    role: user
    principals: [{{ issuer: "{INTERNAL}", group: shoppers, workload: "{GATEWAY}" }}]
  - name: the gateway itself
    role: gateway
    principals: [{{ issuer: "{ISSUER}", subject: gateway, workload: "{GATEWAY}" }}]
"""


class Cloud(NamedTuple):
    """The function, and the IAM of the cloud."""

    function: Target
    iam: TokenIssuer
    server: HttpsServer

    def token_of(self, user: str, *groups: str) -> str:
        """Return a token as the IAM makes it: typ JWT, users by their address, groups inside of a map."""
        now = int(time.time())
        claims = {
            "iss": self.iam.issuer,
            "aud": AUDIENCE,
            "sub": "10769150350006150715113082367",
            "email": f"{user}@example.org",
            "cloud": {"groups": list(groups), "project": "acme"},
            "iat": now,
            "exp": now + 600,
        }
        return self.iam.sign(claims, typ="JWT")

    async def exchanged(self, gateway: Party, token: str) -> str:
        """Return what the gateway passes on in place of a user's token."""
        stub: Any = exchange_pb2_grpc.TokenExchangeServiceStub(gateway.channel)
        request = exchange_pb2.ExchangeRequest(subject_token=token, audience=AUDIENCE)
        return str((await stub.Exchange(request, timeout=10)).access_token)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path / "iam", Authority.create("the cloud's CA")) as running:
        yield running


@pytest.fixture
async def cloud(application: Application, tmp_path: Path, server: HttpsServer) -> AsyncIterator[Cloud]:
    (tmp_path / "dev").mkdir()
    iam, key = TokenIssuer(IAM, AUDIENCE), tmp_path / "exchange.key"
    server.answer = lambda _: json_of(iam.jwks())
    key.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    of_the_iam: dict[str, Any] = {
        "issuer": IAM,
        "jwks_url": f"{server.url}/keys",
        "audiences": [AUDIENCE],
        "types": ["jwt"],
        "claims": {"subject": "email", "groups": "cloud.groups", "tenants": "cloud.project"},
        "fetch": {"ca_file": server.ca_file, "timeout_seconds": 20},
        "keys": {"minimum_interval_seconds": 0.01},
    }
    exchange: dict[str, Any] = {"issuer": INTERNAL, "key_file": key, "audiences": [AUDIENCE], "issuers": [of_the_iam]}
    keys = tmp_path / "dev" / "internal.json"
    keys.write_bytes(orjson.dumps(jwks(Exchange(**exchange).key_file)))
    own = {"issuer": ISSUER, "jwks_file": tmp_path / "dev" / "jwks.json", "audiences": [AUDIENCE]}
    internal = {"issuer": INTERNAL, "jwks_file": keys, "audiences": [AUDIENCE]}
    settings = {"authentication": {"exchange": exchange, "issuers": [own, internal]}}
    async with run_target(application, tmp_path, settings, policy=POLICY) as function:
        yield Cloud(function, iam, server)


async def test_the_function_sees_the_user_behind_the_gateway_and_asks_the_iam_once(cloud: Cloud) -> None:
    function = cloud.function
    async with party(function, "gateway", lambda: function.service.token_of("alice", sub="gateway")) as gateway:
        for user in ("alice", "bob"):
            token = await cloud.exchanged(gateway, cloud.token_of(user, "shoppers"))
            async with party(function, "gateway", lambda token=token: token) as passing_on:  # type: ignore[misc]
                for _ in range(20):
                    assert (await passing_on.ask("TenantUnary", tenant="acme")).code is grpc.StatusCode.OK
    calls = [each for each in await function.service.audit_records() if each["method"].endswith("TenantUnary")]
    assert {(each["subject"], each["workload"], each["rule"]) for each in calls} == {
        (f"{user}@example.org", GATEWAY, "users through the gateway") for user in ("alice", "bob")
    }
    assert len(calls) == 40
    assert [seen.path for seen in cloud.server.seen] == ["/keys"]


async def test_neither_the_gateway_nor_who_steals_its_tokens_gets_further(cloud: Cloud) -> None:
    function = cloud.function
    own = function.service.token_of("alice", sub="gateway")
    async with (
        party(function, "gateway", lambda: own) as gateway,
        party(function, "gateway") as without_a_user,
        party(function, "gateway", lambda: cloud.token_of("alice", "shoppers")) as with_the_iams_token,
    ):
        assert said(await gateway.ask()) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
        assert said(await without_a_user.ask()) == ("UNAUTHENTICATED", "TOKEN_MISSING")
        assert said(await with_the_iams_token.ask()) == ("UNAUTHENTICATED", "TOKEN_ISSUER_UNKNOWN")
        stolen = await cloud.exchanged(gateway, cloud.token_of("alice", "shoppers"))
        of_a_visitor = await cloud.exchanged(gateway, cloud.token_of("carol", "visitors"))
    async with (
        party(function, "worker", lambda: stolen) as worker,
        party(function, "gateway", lambda: of_a_visitor) as for_a_visitor,
    ):
        assert said(await worker.ask()) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
        assert said(await for_a_visitor.ask()) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert function.begun == 0
    assert refusals(function, "PERMISSION_MISSING") == 3
    record = (await function.service.audit_records())[-2]
    assert (record["subject"], record["workload"]) == ("alice@example.org", workload_id("worker"))
    assert stolen not in str(record)


async def test_new_keys_of_the_iam_are_fetched_when_the_first_token_names_one(cloud: Cloud) -> None:
    function = cloud.function
    async with party(function, "gateway", lambda: function.service.token_of("alice", sub="gateway")) as gateway:
        assert await cloud.exchanged(gateway, cloud.token_of("alice", "shoppers"))
        rotated = cloud._replace(iam=TokenIssuer(IAM, AUDIENCE))
        cloud.server.answer = lambda _: json_of({"keys": cloud.iam.jwks()["keys"] + rotated.iam.jwks()["keys"]})
        for signed_by in (rotated, cloud, rotated):
            assert await cloud.exchanged(gateway, signed_by.token_of("alice", "shoppers"))
    assert [seen.path for seen in cloud.server.seen] == ["/keys", "/keys"]
