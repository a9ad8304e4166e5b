"""A service that is killed in the midst of its calls, or changes its files under load: no call without its record."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.audit.segments import closed_segments
from secure_rpc.audit.trail import lines_of
from secure_rpc.audit.verify import verify
from secure_rpc.chain import CORRELATION_ID_KEY
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.processes import Served, serve_process
from support.world import ending

CALLERS = 8
SMALL_FILES = {"rotate_bytes": 16_384, "checkpoint_records": 50}
PATIENCE_SECONDS = 60


class Load:
    """Callers who call one after the other, those who may and those who may not, until told to stop.

    Args:
        served: whom they call.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self.ended = 0
        self.refused: set[str] = set()  # what callers were told, each by its own id
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        channels = [await self._served.channel(name) for name in ("alice", "")]
        async with asyncio.TaskGroup() as callers:
            for number in range(CALLERS):
                callers.create_task(self._call(probe_pb2_grpc.ProbeServiceStub(channels[number % 2])))

    async def _call(self, stub: Any) -> None:
        while not self.stopping.is_set():
            told = await ending(stub.Unary(pb.Ask(act="anything"), timeout=10))
            is_well, call_id = told.code is grpc.StatusCode.OK, str(told.trailers.get(CORRELATION_ID_KEY, ""))
            if not is_well and not call_id:  # nobody has answered: it is gone
                return
            self.ended += 1
            if not is_well:
                self.refused.add(call_id)


async def until_files(log: Path, load: Load, count: int) -> None:
    """Wait until so many more files are closed under the load."""
    before = len(closed_segments(log))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(closed_segments(log)) < before + count:  # noqa: ASYNC110  # another process tells nobody
            await asyncio.sleep(0.01)
    assert load.ended


def calls_in(log: Path) -> list[str]:
    return [line.content["call_id"] for line in lines_of(log) if line.content["event"] == "call"]


async def test_killed_under_load_it_has_the_record_of_each_call_that_was_answered(
    application: Application, tmp_path: Path
) -> None:
    """Also when it is killed again after it has gone on with the same log, and with files that change all the while."""
    audit, ended, refused = {**SMALL_FILES, "durability": "durable"}, 0, set[str]()
    for _ in range(2):
        async with serve_process(application, tmp_path, {"audit": audit}) as served:
            log, load = served.settings.audit.file, Load(served)
            calling = asyncio.create_task(load.run())
            await until_files(log, load, 3)
            served.signal(signal.SIGKILL)
            await served.process.ended()
            await calling
        ended, refused = ended + load.ended, refused | load.refused
    async with serve_process(application, tmp_path, {"audit": audit}) as served:  # what was torn is cut off
        await served.process.address()
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
    finding = verify(log)
    assert finding.whole, finding.problem
    calls = calls_in(log)
    assert max(Counter(calls).values()) == 1
    assert refused <= set(calls)
    assert ended <= len(calls) <= ended + 2 * CALLERS  # beyond those, what was under way when it was killed


@pytest.mark.parametrize("durability", ["deferred", "durable"])
async def test_under_load_while_files_change_there_are_as_many_records_as_calls(
    application: Application, tmp_path: Path, durability: str
) -> None:
    async with serve_process(application, tmp_path, {"audit": {**SMALL_FILES, "durability": durability}}) as served:
        log, load = served.settings.audit.file, Load(served)
        calling = asyncio.create_task(load.run())
        await until_files(log, load, 6)
        load.stopping.set()
        await calling
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
    finding = verify(log)
    assert finding.whole, finding.problem
    assert (finding.records, len(set(calls_in(log)))) == (load.ended, load.ended)
    assert load.refused <= set(calls_in(log))
