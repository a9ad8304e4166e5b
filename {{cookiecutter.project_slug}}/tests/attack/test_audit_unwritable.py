"""A disk that is full, or made full: no call is served that nobody would ever know of, and the log stays whole."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from secure_rpc.audit.verify import verify
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.processes import Served, readiness, serve_process
from support.target import reason_of
from support.world import Ending, ending

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set by prlimit")

FREE_BYTES = 100  # less than a record


async def let_no_file_grow(served: Served, beyond_bytes: int | None) -> None:
    """Have every write of the process fail that makes a file larger than that, as on a full disk; None ends it."""
    pid = await served.worker_pid()
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(
        pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if beyond_bytes is None else beyond_bytes, hard)
    )


async def until(stub: Any, wanted: Callable[[Ending], bool]) -> Ending:
    """Call until a call ends as wanted; how soon the disk is noticed is up to the log."""
    async with asyncio.timeout(10):
        while True:
            told = await ending(stub.Unary(pb.Ask(act="anything")))
            if wanted(told):
                return told


@pytest.mark.parametrize("durability", ["deferred", "durable"])
async def test_calls_are_refused_while_the_audit_cannot_be_written_and_no_record_is_lost(
    application: Application, tmp_path: Path, durability: str
) -> None:
    async with serve_process(application, tmp_path, {"audit": {"durability": durability}}) as served:
        log = served.settings.audit.file
        stub: Any = probe_pb2_grpc.ProbeServiceStub(await served.channel())
        calls: list[Ending] = [await until(stub, lambda told: told.code is grpc.StatusCode.OK)]
        async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
            assert (await readiness(admin)).status_code == 200
            await let_no_file_grow(served, log.stat().st_size + FREE_BYTES)
            refused = await until(stub, lambda told: told.code is grpc.StatusCode.UNAVAILABLE)
            assert reason_of(refused.trailers).reason == "AUDIT_UNAVAILABLE"
            unready = await readiness(admin, because=["audit records cannot be written"])
            assert unready.status_code == 503
            assert (await admin.get("/healthz")).status_code == 200
            assert "secure_rpc_audit_write_failures_total 0.0" not in (await admin.get("/metrics")).text
            await let_no_file_grow(served, None)
            await until(stub, lambda told: told.code is grpc.StatusCode.OK)
            assert (await readiness(admin)).status_code == 200
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
        finding = verify(log)
        assert finding.whole, finding.problem
        assert finding.codes["UNAVAILABLE"] >= 1
        assert finding.records == len([line for line in served.process.lines if line["event"] == "call"])
        assert calls


async def test_calls_are_served_all_the_same_where_the_settings_want_it_so(
    application: Application, tmp_path: Path
) -> None:
    async with serve_process(application, tmp_path, {"audit": {"refuse_when_unwritable": False}}) as served:
        log = served.settings.audit.file
        stub: Any = probe_pb2_grpc.ProbeServiceStub(await served.channel())
        await until(stub, lambda told: told.code is grpc.StatusCode.OK)
        await let_no_file_grow(served, log.stat().st_size + FREE_BYTES)
        for _ in range(20):
            assert (await ending(stub.Unary(pb.Ask(act="anything")))).code is grpc.StatusCode.OK
        await let_no_file_grow(served, None)
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
        finding = verify(log)
        assert (finding.problem, finding.codes) == ("", {"OK": 21})
