"""How a server stops under calls that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.audit.verify import verify
from secure_rpc.platform import Application
from secure_rpc.server import SETTLE_SECONDS

from probe.v1 import probe_pb2 as pb
from support.probe import Servicer
from support.target import Target, run_target

GRACE_SECONDS = 0.1
SHUTDOWN = {"shutdown": {"drain_seconds": 0, "grace_seconds": GRACE_SECONDS}}


class Tidy(Servicer):
    """Takes its time to clean up."""

    async def Bidi(self, request_iterator: AsyncIterator[pb.Ask], context: Any) -> AsyncIterator[pb.Answer]:
        try:
            async for answer in super().Bidi(request_iterator, context):
                yield answer
        finally:
            await asyncio.sleep(5 * GRACE_SECONDS)


class Stubborn(Servicer):
    """Takes no end for an end."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = asyncio.Event()

    async def Bidi(self, request_iterator: AsyncIterator[pb.Ask], context: Any) -> AsyncIterator[pb.Answer]:
        yield await self.perform(await anext(request_iterator), context)
        while not self.enough.is_set():
            with suppress(BaseException):
                await self.enough.wait()


async def begin(target: Target) -> Any:
    """Return a call under way."""
    call = target.call("Bidi", open_=True)
    await call.write(pb.Ask(act="anything"))
    await call.read()
    return call


async def test_calls_that_are_cut_are_recorded_however_long_they_clean_up(
    application: Application, tmp_path: Path
) -> None:
    async with run_target(application, tmp_path, SHUTDOWN, servicer=Tidy()) as target:
        for _ in range(10):
            await begin(target)
        await target.service.server.stop()
        finding = verify(target.service.server.platform.audit_log.path)
        assert (finding.problem, finding.codes) == ("", {"CANCELLED": 10})


async def test_a_handler_that_takes_no_end_does_not_hold_up_the_stop(application: Application, tmp_path: Path) -> None:
    servicer = Stubborn()
    async with run_target(application, tmp_path, SHUTDOWN, servicer=servicer) as target:
        await begin(target)
        async with asyncio.timeout(GRACE_SECONDS + 2 * SETTLE_SECONDS + 2):
            await target.service.server.stop()
        assert verify(target.service.server.platform.audit_log.path).whole
        servicer.enough.set()


@pytest.mark.parametrize("drain", [True, False])
async def test_a_server_can_be_stopped_twice(target: Target, *, drain: bool) -> None:
    assert await target.is_served()
    for _ in range(2):
        async with asyncio.timeout(10):
            await target.service.server.stop(drain=drain)
    assert verify(target.service.server.platform.audit_log.path).codes == {"OK": 1}
