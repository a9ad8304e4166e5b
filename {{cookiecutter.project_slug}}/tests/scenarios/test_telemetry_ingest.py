"""Telemetry streams in: an agent uploads for hours, on one call, and what breaks off leaves nothing behind.

Who is there: an agent in each building, which sends readings as they come; a collector, which stores an upload when it
is whole; tokens that last minutes (here: seconds), uploads that last hours.
What they want: a stream goes on past its token without being begun anew, for as long as its owner shows new ones.
What may go wrong: the stream ends with the token and the readings are gone; it goes on without any; one agent that has
gone wild fills the collector; half an upload, given up or cut off, is stored as if it were one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from secure_rpc.client_streams import Timing, kept_call
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.flaky_link import flaky_link
from support.parties import Party, party, refusals
from support.probe import Servicer
from support.sessions import NO_LEEWAY, PATIENCE_SECONDS, said, token
from support.target import Target, reason_of, run_target
from support.world import Ending, ending

TOKEN_SECONDS = 3
AHEAD = 0.9  # of its life a stream has left when a new token is shown: early enough for a busy machine
BURST = 5


class Collector(Servicer):
    """Stores the readings of an upload once the last one has come."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[list[str]] = []

    async def ClientStream(self, request_iterator: AsyncIterator[pb.Ask], _context: Any) -> pb.Answer:
        readings = []
        async for request in request_iterator:
            self.begun.release()
            readings.append(request.act)
        self.stored.append(readings)
        return pb.Answer(text=f"{len(readings)} stored")


@asynccontextmanager
async def collecting(
    application: Application, folder: Path, settings: dict[str, Any]
) -> AsyncIterator[tuple[Target, Collector]]:
    collector = Collector()
    async with run_target(application, folder, settings, servicer=collector) as target:
        yield target, collector


@pytest.fixture
async def running(application: Application, tmp_path: Path) -> AsyncIterator[tuple[Target, Collector]]:
    async with collecting(application, tmp_path, NO_LEEWAY) as made:
        yield made


async def send_past(call: Any, until_seconds: float) -> list[str]:
    """Write a reading now and then until a Unix time, and return them."""
    sent: list[str] = []
    while time.time() < until_seconds:
        sent.append(f"{len(sent)} degrees")
        await call.write(pb.Ask(act=sent[-1]))
        await asyncio.sleep(0.05)
    return sent


async def upload(agent: Party, count: int) -> Ending:
    return await agent.target.ask(
        "ClientStream", *[pb.Ask(act=f"{number} degrees") for number in range(count)],
        channel=agent.channel, authorization="",
    )  # fmt: skip


async def test_an_upload_goes_on_past_its_token_by_showing_new_ones(running: tuple[Target, Collector]) -> None:
    target, collector = running
    async with party(target, "agent", lambda: token(target, TOKEN_SECONDS)) as agent, asyncio.timeout(PATIENCE_SECONDS):
        begun = time.time()
        call = agent.call("ClientStream", open_=True)
        async with kept_call(agent.channel, call, timing=Timing(ahead=AHEAD)):
            sent = await send_past(call, begun + 1.5 * TOKEN_SECONDS)
            await call.done_writing()
            assert (await call).text == f"{len(sent)} stored"
    assert collector.stored == [sent]
    assert target.service.metric("secure_rpc_session_refreshes_total", result="extended") >= 1
    uploads = [each for each in await target.service.audit_records() if each["method"].endswith("ClientStream")]
    assert [(each["code"], each["subject"]) for each in uploads] == [("OK", "alice")]


async def test_an_upload_whose_owner_shows_no_new_token_ends_with_the_old_one(
    running: tuple[Target, Collector],
) -> None:
    target, collector = running
    only = token(target, TOKEN_SECONDS)
    async with party(target, "agent", lambda: only) as agent, asyncio.timeout(PATIENCE_SECONDS):
        call = agent.call("ClientStream", open_=True)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await send_past(call, time.time() + 10 * TOKEN_SECONDS)
        assert said(told := await ending(call)) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    assert collector.stored == []
    assert target.service.metric("secure_rpc_streams_ended_total", reason="expired") == 1
    assert (await target.record_of(told))["reason"] == "TOKEN_EXPIRED"


async def test_an_agent_that_has_gone_wild_is_stopped_and_the_others_are_not(
    application: Application, tmp_path: Path
) -> None:
    limits = {"stream_messages_per_second": 0.01, "stream_message_burst": BURST}
    async with (
        collecting(application, tmp_path, {"limits": limits}) as (target, collector),
        party(target, "wild", target.token) as wild,
        party(target, "calm", lambda: target.token("bob")) as calm,
    ):
        told = await upload(wild, BURST + 1)
        assert said(told) == ("RESOURCE_EXHAUSTED", "STREAM_RATE")
        [retry] = [each for each in reason_of(told.trailers).details if isinstance(each, error_details_pb2.RetryInfo)]
        assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 100
        assert said(await upload(calm, BURST)) == ("OK", "")
    assert [len(readings) for readings in collector.stored] == [BURST]
    assert refusals(target, "STREAM_RATE") == 1


@pytest.mark.parametrize("how", ["given up", "cut off"])
async def test_an_upload_that_breaks_off_stores_nothing(running: tuple[Target, Collector], how: str) -> None:
    target, collector = running
    async with (
        flaky_link(target.service.server.port) as link,
        party(target, "agent", target.token, address=link.address) as agent,
    ):
        call = agent.call("ClientStream", open_=True)
        for number in range(BURST):
            await call.write(pb.Ask(act=f"{number} degrees"))
            await collector.begun.acquire()
        target.forget()
        link.cut() if how == "cut off" else call.cancel()
        record = await target.next_record()
        assert (record["code"], record["subject"]) == ("CANCELLED", "alice")
        assert collector.stored == []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while said_by(told := await upload(agent, BURST)) == "UNAVAILABLE":
                pass  # until the channel has found its way again
        assert told.messages == [f"{BURST} stored"]
    assert [len(readings) for readings in collector.stored] == [BURST]
    await until(lambda: target.service.metric("secure_rpc_sessions_live") == 0)


def said_by(told: Ending) -> str:
    return told.code.name
