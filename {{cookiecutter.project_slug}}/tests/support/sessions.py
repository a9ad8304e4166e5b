"""Streams with a session, and those who extend them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from secure_rpc.dev.authority import Leaf, client_request
from secure_rpc.v1 import session_pb2, session_pb2_grpc

from probe.v1 import probe_pb2 as pb
from support.target import TRUST_DOMAIN, Target, reason_of
from support.world import Ending, ending

NO_LEEWAY = {"authentication": {"issuers": [{"leeway_seconds": 0}]}}
SOON_SECONDS = 3  # when a credential ends with which a stream still can begin
PATIENCE_SECONDS = 30
ASK = pb.Ask(act="anything")


def token(target: Target, seconds: float, caller: str = "alice", **claims: Any) -> str:
    """Return a token that ends in so many seconds."""
    return target.service.token_of(caller, exp=int(time.time() + seconds), **claims)


def expiring_leaf(target: Target, seconds: float) -> Leaf:
    """Return the certificate of the usual client, which ends in so many seconds."""
    begin = datetime.now(UTC) - timedelta(minutes=1)
    request = replace(client_request("developer", TRUST_DOMAIN), not_before=begin)
    return target.service.issue(replace(request, lifetime=timedelta(minutes=1, seconds=seconds)))


class Stream:
    """A stream, and what it has announced.

    Args:
        target: the server.
        bearer: the token of a stream that answers each message.
        shape: its method.
        call: another stream, that has been begun.
    """

    def __init__(self, target: Target, bearer: str = "", shape: str = "Bidi", call: Any = None) -> None:
        self._talks = call is None and shape.startswith("Bidi")
        self.call = call or target.call(shape, authorization=f"Bearer {bearer}", open_=True)
        self.id = ""
        self.expires_at = 0

    async def begin(self) -> Stream:
        """Wait for what is announced."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            announced = dict(await self.call.initial_metadata())
        self.id, self.expires_at = str(announced["session-id"]), int(announced["session-expires-at"])
        if self._talks:
            assert await self.answers()
        return self

    async def answers(self) -> bool:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.call.write(ASK)
            return bool((await self.call.read()).text == ASK.act)

    async def end(self) -> tuple[str, str]:
        """Wait for the server to end it; there must be no message before that."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = await ending(self.call)
        assert told.messages == []
        return said(told)

    async def close(self) -> None:
        """End it, as a caller does who needs no more."""
        await self.call.done_writing()
        assert await self.call.code() is grpc.StatusCode.OK


async def refresh(target: Target, session_id: str, bearer: str, channel: Any = None) -> Ending:
    """Have a session extended."""
    stub: Any = session_pb2_grpc.SessionServiceStub(channel or target.channel)
    request = session_pb2.RefreshRequest(session_id=session_id)
    return await ending(stub.Refresh(request, metadata=(("authorization", f"Bearer {bearer}"),), timeout=20))


def said(told: Ending) -> tuple[str, str]:
    """Return code and reason."""
    return told.code.name, "" if told.code is grpc.StatusCode.OK else reason_of(told.trailers).reason
