"""High-throughput inference: thousands of calls, and nobody waits for authentication.

Who is there: a ranking job and a chat front end, which call a model thousands of times with one token each; an issuer
that can be asked, by keys or by introspection, and that is slow and away at times; an auditor.
What they want: each token is verified once. What comes after is a look into memory, and the record of a call is
written behind its reply (`audit.durability: deferred`).
What may go wrong: each call, or each that comes at once with others, asks the issuer; the issuer's outage becomes the
model's; a remembered caller is still believed when it is revoked; a record is lost, or made twice, since nobody waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from starlette.responses import Response

from secure_rpc.audit.settings import Durability
from secure_rpc.dev.authority import Authority
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity.deny_list import Revocation, revoke
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.https import HttpsServer, Seen, https_server, json_of
from support.parties import Party, party, refusals
from support.sessions import said
from support.target import AUDIENCE, ISSUER, POLICY, Target, run_target
from support.watched import Watched

KEYS, OPAQUE = "https://keys.example.org", "https://opaque.example.org"
CALLS, AT_ONCE = 2500, 50
PARTS = 500  # of an answer that is streamed
WHO = f'[{{ issuer: "{ISSUER}", group: callers }}'
MODELS = POLICY.replace(
    WHO, f'{WHO}, {{ issuer: "{KEYS}", subject: ranking }}, {{ issuer: "{OPAQUE}", subject: chat }}'
)


class Issuer:
    """What the two issuers answer, as long as they are there."""

    def __init__(self, server: HttpsServer) -> None:
        self.server = server
        self.signer = TokenIssuer(KEYS, AUDIENCE)
        self.is_away = False
        server.answer = self.answer

    def answer(self, seen: Seen) -> Response:
        if self.is_away:
            return Response(status_code=503)
        if seen.path == "/keys":
            return json_of(self.signer.jwks())
        return json_of({"active": True, "aud": AUDIENCE, "sub": "chat", "iat": 0, "exp": 9_999_999_999})

    def asked(self) -> Counter[str]:
        return Counter(seen.path for seen in self.server.seen)


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with https_server(tmp_path / "issuer", Authority.create("the issuer's CA")) as server:
        yield Issuer(server)


@pytest.fixture
async def model(application: Application, tmp_path: Path, issuer: Issuer) -> AsyncIterator[Target]:
    fetch = {"ca_file": issuer.server.ca_file, "timeout_seconds": 20}
    issuers = [
        {"issuer": ISSUER, "jwks_file": tmp_path / "dev" / "jwks.json", "audiences": [AUDIENCE]},
        {"issuer": KEYS, "audiences": [AUDIENCE], "jwks_url": f"{issuer.server.url}/keys", "fetch": fetch},
        {
            "issuer": OPAQUE,
            "audiences": [AUDIENCE],
            "introspection": {"url": f"{issuer.server.url}/introspect", "cache_seconds": 600},
            "fetch": fetch,
        },
    ]
    settings: dict[str, Any] = {"authentication": {"issuers": issuers}, "audit": {"durability": "deferred"}}
    async with run_target(application, tmp_path, settings, policy=MODELS) as target:
        assert target.service.server.settings.audit.durability is Durability.DEFERRED
        yield target


@asynccontextmanager
async def callers(model: Target, issuer: Issuer) -> AsyncIterator[tuple[Party, Party]]:
    token = issuer.signer.token(Caller(subject="ranking"))
    async with party(model, "ranking", lambda: token) as ranking, party(model, "chat", lambda: "opaque") as chat:
        yield ranking, chat


async def call_often(caller: Party, count: int) -> Counter[str]:
    """Make calls, many at once; return how they ended."""
    ended: Counter[str] = Counter()

    async def go_on(calls: int) -> None:
        for _ in range(calls):
            ended[(await caller.ask(act="rank")).code.name] += 1

    await asyncio.gather(*(go_on(count // AT_ONCE) for _ in range(AT_ONCE)))
    return ended


async def test_thousands_of_calls_ask_the_issuers_once_and_each_has_its_record(model: Target, issuer: Issuer) -> None:
    async with callers(model, issuer) as (ranking, chat):
        first = await asyncio.gather(*(each.ask() for each in (ranking, chat) for _ in range(AT_ONCE)))
        assert {told.code for told in first} == {grpc.StatusCode.OK}
        assert issuer.asked() == {"/keys": 1, "/introspect": 1}

        issuer.is_away = True  # from here on nobody could be asked
        watched = Watched(model)
        for caller in (ranking, chat):
            assert await call_often(caller, CALLS // 2) == {"OK": CALLS // 2}
        assert watched.moved("secure_rpc_identity_cache_uses") == {"secure_rpc_identity_cache_uses['hit']": CALLS}
        assert issuer.asked() == {"/keys": 1, "/introspect": 1}

    records = await model.service.audit_records()
    assert Counter((each["subject"], each["code"]) for each in records) == {
        ("ranking", "OK"): AT_ONCE + CALLS // 2,
        ("chat", "OK"): AT_ONCE + CALLS // 2,
    }
    assert len({each["call_id"] for each in records}) == len(records) == model.begun
    assert model.service.metric("secure_rpc_audit_records_total") == len(records)


async def test_an_answer_that_is_streamed_is_one_call_however_many_parts_it_has(model: Target, issuer: Issuer) -> None:
    async with callers(model, issuer) as (_, chat):
        call = chat.call("ServerStream", pb.Ask(act="the end", count=PARTS))
        parts = [part.text async for part in call]
    assert (len(parts), parts[-1]) == (PARTS + 1, "the end")
    assert issuer.asked()["/introspect"] == 1
    assert len(await model.service.audit_records()) == 1


async def test_a_caller_that_is_remembered_is_refused_once_it_is_revoked(model: Target, issuer: Issuer) -> None:
    listed = model.service.server.settings.revocation.deny_list_file
    assert listed is not None
    async with callers(model, issuer) as (ranking, chat):
        for caller in (ranking, chat):
            assert await call_often(caller, AT_ONCE) == {"OK": AT_ONCE}
        revoke(listed, Revocation(subject="ranking", issuer=KEYS, reason="left a key in a notebook"))
        await until(lambda: model.service.metric("secure_rpc_revocations", list="deny_list") == 1, 20)
        assert said(await ranking.ask()) == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
        assert said(await chat.ask()) == ("OK", "")
        assert await call_often(chat, AT_ONCE) == {"OK": AT_ONCE}
    assert refusals(model, "SUBJECT_REVOKED") == 1
    assert issuer.asked() == {"/keys": 1, "/introspect": 2}  # what was remembered of anybody is asked anew, once
