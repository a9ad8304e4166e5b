"""Streams end with their credential, or go on with a new one that their owner shows to any replica."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application
from secure_rpc.v1 import session_pb2, session_pb2_grpc

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.target import Target, reason_of, run_target
from support.world import Ending, ending

ASK = pb.Ask(act="anything")
SOON = 2  # seconds, from which on a stream can begin before its credential has ended
PATIENCE_SECONDS = 30
TIMES = int(os.environ.get("SESSION_REFRESHES", "25"))
NO_LEEWAY = {"authentication": {"issuers": [{"leeway_seconds": 0}]}}


def token(target: Target, seconds: int, caller: str = "alice", **claims: Any) -> str:
    return target.service.token_of(caller, exp=int(time.time()) + seconds, **claims)


class Stream:
    """A stream in both directions, and what it announced."""

    def __init__(self, target: Target, bearer: str, shape: str = "Bidi", **options: Any) -> None:
        self.call = target.call(shape, authorization=f"Bearer {bearer}", open_=True, **options)
        self.id = ""
        self.expires_at = 0

    async def begin(self) -> Stream:
        announced = dict(await self.call.initial_metadata())
        self.id, self.expires_at = str(announced["session-id"]), int(announced["session-expires-at"])
        assert await self.answers()
        return self

    async def answers(self) -> bool:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.call.write(ASK)
            return bool((await self.call.read()).text == ASK.act)

    async def end(self) -> tuple[str, str]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = await ending(self.call)
        assert told.messages == []
        return told.code.name, reason_of(told.trailers).reason


async def refresh(target: Target, session_id: str, bearer: str, channel: Any = None) -> Ending:
    stub: Any = session_pb2_grpc.SessionServiceStub(channel or target.channel)
    request = session_pb2.RefreshRequest(session_id=session_id)
    return await ending(stub.Refresh(request, metadata=(("authorization", f"Bearer {bearer}"),), timeout=20))


def told(answer: Ending) -> tuple[str, str]:
    return answer.code.name, "" if answer.code is grpc.StatusCode.OK else reason_of(answer.trailers).reason


@pytest.fixture
async def target(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path, merged(NO_LEEWAY)) as running:
        yield running


def merged(*overrides: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in overrides:
        found |= each
    return found


async def test_a_stream_ends_with_its_token_and_has_said_when(target: Target) -> None:
    stream = await Stream(target, token(target, SOON)).begin()
    assert await stream.end() == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    assert stream.expires_at <= time.time() < stream.expires_at + PATIENCE_SECONDS


async def test_a_stream_goes_on_with_a_new_token_of_the_same_subject(target: Target) -> None:
    stream = await Stream(target, token(target, SOON)).begin()
    answer = await refresh(target, stream.id, token(target, 2 * SOON))
    assert told(answer) == ("OK", "")
    [message] = answer.messages
    assert message.expires_at.seconds > stream.expires_at
    await until(lambda: time.time() > stream.expires_at, PATIENCE_SECONDS)
    assert await stream.answers()
    assert await stream.end() == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
