"""A provider's token becomes a short-lived one of ours, for an audience of ours, and never more than was given."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import pem_of
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.exchange import TokenExchange, jwks
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.platform import Application
from secure_rpc.settings import Exchange
from secure_rpc.v1 import exchange_pb2 as pb
from secure_rpc.v1 import exchange_pb2_grpc as pb_grpc

from support.hostile_tokens import claims_of
from support.target import AUDIENCE, ISSUER, POLICY, TRUST_DOMAIN, Target, reason_of, run_target
from support.world import Ending, ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = "https://internal.example.org"
POLICY_OF_AN_EDGE = (
    POLICY.replace("roles:\n", "roles:\n  edge: { permissions: [tokens.exchange] }\n")
    + f'  - role: edge\n    principals: [{{ issuer: "{ISSUER}", subject: edge }}]\n    tenants: own\n'
)
CLAIMS = {"tenant": ["globex", "acme"], "groups": ["callers"], "roles": ["auditor"]}


class Edge:
    """Somebody who may exchange the tokens of others."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.issuer = target.service.issuer
        self.settings = exchange(folder)

    def users(self, **claims: Any) -> str:
        """Return a user's token."""
        return self.issuer.token(Caller(subject="alice"), **{**CLAIMS, **claims})

    async def ask(self, token: str, audience: str = "invoices", caller: str = "edge", **said: Any) -> Ending:
        stub: Any = pb_grpc.TokenExchangeServiceStub(said.pop("channel", self.target.channel))
        authorization = f"Bearer {self.issuer.token(Caller(subject=caller))}"
        request = pb.ExchangeRequest(subject_token=token, audience=audience)
        return await ending(stub.Exchange(request, metadata=(("authorization", authorization),), timeout=10))

    async def given(self, token: str, audience: str = "invoices") -> pb.ExchangeResponse:
        told = await self.ask(token, audience)
        assert told.code is grpc.StatusCode.OK, told
        [response] = told.messages
        assert isinstance(response, pb.ExchangeResponse)
        return response

    async def refused(self, token: str, **said: Any) -> tuple[str, str]:
        """Return code and reason; what is refused must not be in the record."""
        told = await self.ask(token, **said)
        assert told.messages == []
        record = await self.target.record_of(told)
        assert token not in str(record)
        return told.code.name, reason_of(told.trailers).reason


def exchange(folder: Path, **said: Any) -> dict[str, Any]:
    key = folder / "internal.key"
    if not key.exists():
        key.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    return {"issuer": OURS, "key_file": key, "audiences": ["invoices", "reports"], **said}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder = tmp_path_factory.mktemp("edge")
    settings = {"authentication": {"exchange": exchange(folder)}}
    async with run_target(application, folder, settings, policy=POLICY_OF_AN_EDGE) as target:
        yield Edge(target, folder)


# --- what is given -------------------------------------------------------------------------------------------------


async def test_a_token_of_ours_says_what_the_one_given_said_and_who_had_it_exchanged(
    edge: Edge, tmp_path: Path
) -> None:
    response = await edge.given(edge.users(nickname="hunter2"))
    claims = claims_of(response.access_token)
    assert (claims["iss"], claims["aud"], claims["sub"]) == (OURS, "invoices", "alice")
    assert (claims["tenant"], claims["groups"], claims["roles"]) == (["acme", "globex"], ["callers"], ["auditor"])
    assert (claims["act"], claims["origin"]) == ({"sub": "edge"}, ISSUER)
    assert claims["exp"] - claims["iat"] == 300
    assert response.expires_at.seconds == claims["exp"]
    assert "nickname" not in claims
    assert jwt.get_unverified_header(response.access_token)["typ"] == "at+jwt"
    await believed_by_its_audience_alone(response.access_token, edge.settings, tmp_path)


async def believed_by_its_audience_alone(token: str, settings: dict[str, Any], folder: Path) -> None:
    keys = folder / "internal.json"
    keys.write_bytes(orjson.dumps(jwks(Exchange(**settings).key_file)))
    for audience in ("invoices", "reports"):
        rules = Issuer(issuer=OURS, jwks_file=keys, audiences=(audience,), required_claims=("iat", "jti", "act"))
        verify = TokenVerifier((rules,)).verify(token)
        if audience == "invoices":
            assert (await verify).subject == "alice"
        else:
            with pytest.raises(Exception, match="not accepted"):
                await verify


async def test_the_record_tells_the_audience_and_no_token(edge: Edge) -> None:
    token = edge.users()
    edge.target.forget()
    told = await edge.ask(token)
    record = await edge.target.next_record()
    assert (record["code"], record["subject"]) == ("OK", "edge")
    assert "invoices" in str(record)
    for secret in (token, told.messages[0].access_token):
        assert secret not in str(record)


async def test_no_two_tokens_are_the_same(edge: Edge) -> None:
    token = edge.users()
    ids = {claims_of((await edge.given(token)).access_token)["jti"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("seconds", [60, 299, 301, -10])
async def test_a_token_never_outlives_the_one_that_was_given_not_even_by_the_leeway(edge: Edge, seconds: int) -> None:
    end = int(time.time()) + seconds
    response = await edge.given(edge.users(exp=end))  # one that ended 10 s ago is within the leeway
    assert claims_of(response.access_token)["exp"] <= end
    assert response.expires_at.seconds <= end


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", ["", "Invoices", "invoices ", AUDIENCE, "*", "internal"])
async def test_an_audience_that_is_not_ours_to_give_is_refused(edge: Edge, audience: str) -> None:
    assert await edge.refused(edge.users(), audience=audience) == ("INVALID_ARGUMENT", "EXCHANGE_AUDIENCE_UNKNOWN")


@pytest.mark.parametrize("caller", ["alice", "mallory"])
async def test_who_has_no_permission_exchanges_nothing(edge: Edge, caller: str) -> None:
    assert await edge.refused(edge.users(), caller=caller) == ("PERMISSION_DENIED", "PERMISSION_MISSING")


async def test_who_has_no_token_of_its_own_exchanges_nothing(edge: Edge) -> None:
    stub: Any = pb_grpc.TokenExchangeServiceStub(edge.target.channel)
    told = await ending(stub.Exchange(pb.ExchangeRequest(subject_token=edge.users(), audience="invoices"), timeout=10))
    assert (told.code.name, reason_of(told.trailers).reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "TOKEN_EXPIRED"),
        ({"aud": "another"}, "TOKEN_AUDIENCE_WRONG"),
        ({"iss": "https://evil.example.org"}, "TOKEN_ISSUER_UNKNOWN"),
        ({"sub": None}, "TOKEN_CLAIM_MISSING"),
    ],
)
async def test_a_token_that_nobody_should_believe_is_not_exchanged(
    edge: Edge, claims: dict[str, Any], reason: str
) -> None:
    assert await edge.refused(edge.users(**claims)) == ("UNAUTHENTICATED", reason)


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c"])
async def test_what_is_no_token_is_not_exchanged(edge: Edge, token: str) -> None:
    told = await edge.ask(token)
    assert (told.code.name, reason_of(told.trailers).reason) == ("UNAUTHENTICATED", "TOKEN_MALFORMED")


async def test_a_bound_token_is_not_exchanged_not_even_by_its_holder(edge: Edge) -> None:
    leaf = edge.target.leaf()
    mine = certificate_reader(TRUST_DOMAIN)(leaf.certificate_pem, b"").thumbprint
    async with edge.target.bare_channel(leaf) as channel:
        for thumbprint in (mine, "somebody-elses"):
            token = edge.users(cnf={"x5t#S256": thumbprint})
            assert await edge.refused(token, channel=channel) == ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest.mark.parametrize("rule", [{"certificate_bound": True}, {"trust_domain": "partner.example"}])
async def test_a_rule_about_who_may_show_a_token_is_not_got_round_by_an_exchange(
    application: Application, tmp_path: Path, rule: dict[str, Any]
) -> None:
    """The edge's own token is of another issuer; what it wants to exchange is of the one with the rule."""
    partner = TokenIssuer("https://partner.example", AUDIENCE)
    (tmp_path / "dev").mkdir()
    partner.save(tmp_path / "partner.key", tmp_path / "dev" / "partner.json")
    folder = tmp_path / "dev"
    issuers = [
        {"issuer": ISSUER, "jwks_file": folder / "jwks.json", "audiences": [AUDIENCE]},
        {"issuer": partner.issuer, "jwks_file": folder / "partner.json", "audiences": [AUDIENCE], **rule},
    ]
    settings = {"authentication": {"exchange": exchange(tmp_path), "issuers": issuers}}
    async with run_target(application, tmp_path, settings, policy=POLICY_OF_AN_EDGE) as target:
        edge = Edge(target, tmp_path)
        await edge.given(edge.users())
        edge.issuer, own = partner, edge.issuer
        token = edge.users()
        edge.issuer = own
        assert await edge.refused(token) == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_where_the_exchange_is_off_there_is_none(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, policy=POLICY_OF_AN_EDGE) as target:
        edge = Edge(target, tmp_path)
        assert (await edge.ask(edge.users())).code is grpc.StatusCode.UNIMPLEMENTED


# --- the key ---------------------------------------------------------------------------------------------------------


async def test_the_name_of_the_key_follows_from_the_key_and_only_its_public_part_is_told(tmp_path: Path) -> None:
    settings = Exchange(**exchange(tmp_path))
    first, second = (jwks(settings.key_file) for _ in range(2))
    assert first == second
    [key] = first["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


@pytest.mark.parametrize("kind", ["missing", "empty", "RSA", "P-384"])
async def test_a_key_that_would_not_do_is_told_at_the_start(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "internal.key"
    if kind == "RSA":
        file.write_bytes(pem_of(rsa.generate_private_key(65537, 2048)))
    elif kind == "P-384":
        file.write_bytes(pem_of(ec.generate_private_key(ec.SECP384R1())))
    elif kind == "empty":
        file.write_bytes(b"")
    told = "is no key on P-256" if "-" in kind or kind == "RSA" else r"cannot be read \(.*\); mount it"
    settings = Exchange(issuer=OURS, key_file=file, audiences=("a",))
    with pytest.raises(ConfigurationError, match=f"authentication.exchange.key_file: {file} {told}"):
        TokenExchange(settings, TokenVerifier(()).verify)
