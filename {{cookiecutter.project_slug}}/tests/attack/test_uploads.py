"""Uploads that are broken off must never be taken for whole."""

from __future__ import annotations

import pytest

from probe.v1 import probe_pb2 as pb
from support import http2
from support.probe import path_of
from support.target import Target

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHAPES = ("ClientStream", "ClientStreamByRead")
UPLOADS = 100
PART = http2.message(pb.Ask(act="part").SerializeToString())


@pytest.mark.parametrize("shape", SHAPES)
async def test_cancelled_uploads_are_not_committed(target: Target, shape: str) -> None:
    target.servicer.committed.clear()
    target.forget()
    for _ in range(UPLOADS):
        call = target.call(shape, open_=True)
        await call.write(pb.Ask(act="part"))
        await target.servicer.begun.acquire()
        call.cancel()
    records = [await target.next_record() for _ in range(UPLOADS)]
    assert {(record["code"], record["subject"]) for record in records} == {("CANCELLED", "alice")}
    assert target.servicer.committed == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", ["reset", "connection lost", "half a message"])
async def test_an_upload_that_breaks_off_on_the_wire_is_not_committed(target: Target, shape: str, how: str) -> None:
    target.servicer.committed.clear()
    target.forget()
    metadata = [(b"authorization", f"Bearer {target.token()}".encode())]
    async with target.raw() as connection:
        stream = await connection.call(path_of(shape).encode(), None, metadata)
        await connection.send(http2.frame(http2.Kind.DATA, 0, stream, PART))
        await target.servicer.begun.acquire()
        if how == "reset":
            await connection.send(http2.frame(http2.Kind.RST_STREAM, 0, stream, (8).to_bytes(4, "big")))
        elif how == "half a message":
            await connection.send(http2.frame(http2.Kind.DATA, 0, stream, PART[:-2]))
    assert (await target.next_record())["code"] != "OK"
    assert target.servicer.committed == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_whole_upload_is_committed(target: Target, shape: str) -> None:
    target.servicer.committed.clear()
    assert (await target.ask(shape, *[pb.Ask(act="part")] * 3)).code.name == "OK"
    assert target.servicer.committed == [3]
