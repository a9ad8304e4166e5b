"""Devices on flaky links: the connection breaks all the time, and yet nothing is lost, and nothing comes twice.

Who is there: a thermostat on a bad radio link, which follows the commands for its house; the service that numbers them;
a neighbour's thermostat; whoever has to know which devices are in trouble.
What they want: after each break the device goes on after the last command that it has seen to, by itself, with a token
that is good now; a break costs a handshake, not a login and not a command.
What may go wrong: a command is lost in the break, or carried out twice; the device begins from the start each time; a
device that was stolen comes back by the same way; a device that cannot get through hammers on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.client_streams import KeptStream, Persistence, Timing
from secure_rpc.identity.deny_list import Revocation, revoke
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.flaky_link import Link, flaky_link
from support.parties import Party, party, refusals, workload_id
from support.probe import Servicer
from support.target import Target, run_target

COMMANDS = 400
BREAK_BYTES = 6000  # from the server, handshake included, after which the link breaks
PATIENCE_SECONDS = 30
FIRST_SECONDS = 0.01  # waited after a break, doubled from there on; seconds in the world


class House(Servicer):
    """Numbers the commands of a house, and tells those after a number; `name` is that of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []  # from which number on
        self.last = COMMANDS

    async def ServerStream(self, request: pb.Ask, _context: Any) -> AsyncIterator[pb.Answer]:
        self.asked.append(request.count)
        for number in range(request.count + 1, self.last + 1):
            yield pb.Answer(text=str(number), padding=bytes(64))
        if request.act == "and wait":
            await asyncio.Event().wait()


@pytest.fixture
async def house(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path, servicer=House()) as target:
        yield target


@asynccontextmanager
async def device(target: Target, link: Link, name: str = "thermostat") -> AsyncIterator[Party]:
    """Switch a device on; it gets a new token for each attempt."""
    async with party(target, name, target.token, address=link.address) as made:
        yield made


def commands(device_: Party, act: str = "commands") -> KeptStream[pb.Answer]:
    """Return the commands as the device follows them."""
    return KeptStream(
        device_.channel,
        lambda cursor: device_.call("ServerStream", pb.Ask(act=act, count=cursor)),
        lambda answer: int(answer.text),
        persistence=Persistence(first_seconds=FIRST_SECONDS, longest_seconds=1, attempts=100),
        timing=Timing(),
    )


async def test_every_command_comes_once_and_in_order_however_often_the_link_breaks(house: Target) -> None:
    async with (
        flaky_link(house.service.server.port, every_bytes=BREAK_BYTES) as link,
        device(house, link) as thermostat,
        asyncio.timeout(PATIENCE_SECONDS),
        commands(thermostat) as stream,
    ):
        came = [int(answer.text) async for answer in stream]
    assert came == list(range(1, COMMANDS + 1))
    assert link.breaks >= 3
    servicer = house.servicer
    assert isinstance(servicer, House)
    assert servicer.asked == sorted(servicer.asked)  # on from where it was, never from the start
    assert len(set(servicer.asked)) > 3

    await until(lambda: house.service.server.chain.under_way == 0, PATIENCE_SECONDS)
    records = await house.service.audit_records()  # each attempt was a call, and was verified as one
    assert {(each["workload"], each["subject"]) for each in records} == {(workload_id("thermostat"), "alice")}
    assert len(records) >= len(servicer.asked)
    assert {each["code"] for each in records} >= {"OK", "CANCELLED"}


async def test_a_stolen_device_does_not_come_back_by_the_same_way_and_gives_up(house: Target) -> None:
    listed = house.service.server.settings.revocation.deny_list_file
    assert listed is not None
    async with (
        flaky_link(house.service.server.port) as link,
        device(house, link, "stolen") as stolen,
        device(house, link) as thermostat,
        asyncio.timeout(PATIENCE_SECONDS),
        commands(stolen, "and wait") as its_stream,
        commands(thermostat, "and wait") as other,
    ):
        for stream in (its_stream, other):
            assert [int((await anext(stream)).text) for _ in range(COMMANDS)][-1] == COMMANDS
        revoke(listed, Revocation(spiffe_id=workload_id("stolen"), reason="taken from the wall"))
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await anext(its_stream)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        link.cut()
        told = await stolen.ask()
        while told.code is grpc.StatusCode.UNAVAILABLE:  # until its channel has found the way again
            told = await stolen.ask()
        assert told.code is grpc.StatusCode.UNAUTHENTICATED

        servicer = house.servicer
        assert isinstance(servicer, House)
        asked = len(servicer.asked)
        servicer.last += 1  # a command while the other device comes back
        assert int((await anext(other)).text) == COMMANDS + 1
        assert servicer.asked[asked:] == [COMMANDS]
    assert refusals(house, "SPIFFE_ID_REVOKED") >= 2
    assert house.service.metric("secure_rpc_streams_ended_total", reason="revoked") == 1


async def test_a_device_that_cannot_get_through_waits_longer_each_time_and_says_so_in_the_end(house: Target) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    async with (
        flaky_link(house.service.server.port, every_bytes=1) as link,  # not even a handshake comes through
        device(house, link) as thermostat,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        stream: KeptStream[pb.Answer] = KeptStream(
            thermostat.channel,
            lambda cursor: thermostat.call("ServerStream", pb.Ask(count=cursor)),
            lambda answer: int(answer.text),
            persistence=Persistence(first_seconds=1, longest_seconds=8, attempts=5),
            timing=Timing(sleep=wait, chance=lambda: 0.5),
        )
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            async with stream:
                await anext(stream)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "given up after 5 attempts" in ended.value.__notes__[0]
    assert waited == sorted(waited)
    assert waited[-1] > waited[0]
    assert house.calls == 0
