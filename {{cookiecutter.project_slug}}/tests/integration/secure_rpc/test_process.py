"""The service as a process: how it starts, how it is told to go, and how it dies."""

from __future__ import annotations

import asyncio
import os
import signal
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
from support.world import ending

EX_CONFIG, EX_SOFTWARE = 78, 70
NOT_UTF8 = b"/a/B\xff"


async def probe(served: Served) -> Any:
    return probe_pb2_grpc.ProbeServiceStub(await served.channel())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_service_starts_by_its_own_command_and_stops_when_told(
    application: Application, tmp_path: Path, number: signal.Signals
) -> None:
    async with serve_process(application, tmp_path, probe=False) as served:
        async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
            assert (await readiness(admin)).json() == {"ready": True}
        served.signal(number)
        assert await served.process.ended() == 0
        told = [line["event"] for line in served.process.lines]
        assert told == ["audit anchor", "serving", "draining", "audit anchor", "stopped"]
        assert served.process.text == []
        assert verify(served.settings.audit.file).whole


async def test_sigterm_lets_calls_under_way_finish_and_the_process_ends_well(
    application: Application, tmp_path: Path
) -> None:
    async with serve_process(application, tmp_path) as served:
        stub = await probe(served)
        upload, talk = stub.ClientStream(), stub.Bidi()
        for call in (upload, talk):
            await call.write(pb.Ask(act="one"))
        assert (await talk.read()).text == "one"
        served.signal(signal.SIGTERM)
        await served.process.line("draining")
        for call in (upload, talk):
            await call.write(pb.Ask(act="two"))
            await call.done_writing()
        assert (await ending(talk)).messages == ["two"]
        assert (await ending(upload)).messages == ["two"]
        assert await served.process.ended() == 0
        assert verify(served.settings.audit.file).codes == {"OK": 2}


async def test_new_calls_are_served_while_the_process_drains(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path, {"shutdown": {"drain_seconds": 2}}) as served:
        stub = await probe(served)
        async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
            served.signal(signal.SIGTERM)
            await served.process.line("draining")
            answer = await readiness(admin, because=["shutting down"])
            assert answer.status_code == 503
            assert (await admin.get("/healthz")).status_code == 200
        assert (await ending(stub.Unary(pb.Ask(act="late")))).code is grpc.StatusCode.OK
        assert await served.process.ended() == 0


async def test_calls_that_outlast_the_grace_are_cut_and_recorded(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path, {"shutdown": {"grace_seconds": 0.2}}) as served:
        call = (await probe(served)).Bidi()
        await call.write(pb.Ask(act="one"))
        assert (await call.read()).text == "one"
        served.signal(signal.SIGTERM)
        assert (await ending(call)).code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert await served.process.ended() == 0
        finding = verify(served.settings.audit.file)
        assert (finding.problem, finding.codes) == ("", {"CANCELLED": 1})


async def test_a_crash_of_the_serving_loop_ends_the_worker_with_a_clear_error_and_another_takes_its_place(
    application: Application, tmp_path: Path
) -> None:
    """On gRPC's own loop, which one call with a hostile path ends; ours withstands it."""
    async with serve_process(application, tmp_path, {"serving_loop": "grpc"}) as served:
        assert (await ending((await probe(served)).Unary(pb.Ask(act="one")))).code is grpc.StatusCode.OK
        async with served.raw() as connection:
            await connection.call(NOT_UTF8)
            died = await served.process.line("a worker has died and is replaced")
        assert (died["cause"], died["pid"], died["in_seconds"]) == (f"exit_{EX_SOFTWARE}", await served.worker_pid(), 0)
        said = "\n".join(served.process.text)
        assert "the serving loop has ended by itself" in said
        assert "the process ends so that it is started again" in said
        assert "Traceback" not in said
        assert any("can't decode byte 0xff" in line["event"] for line in served.process.lines)
        again = await served.process.line("serving", count=2)
        assert again["address"] == await served.process.address()
        assert (await ending((await probe(served)).Unary(pb.Ask(act="two")))).code is grpc.StatusCode.OK
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
        finding = verify(served.settings.audit.file)
        assert (finding.problem, finding.codes) == ("", {"OK": 2})


async def test_our_serving_loop_survives_the_call_that_ends_grpcs_own(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path) as served:
        async with served.raw() as connection:
            answers = [await connection.answer(await connection.call(NOT_UTF8)) for _ in range(100)]
        assert {answer["grpc-status"] for answer in answers} == {b"16"}
        assert (await ending((await probe(served)).Unary(pb.Ask(act="one")))).code is grpc.StatusCode.OK
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0


async def test_a_process_that_cannot_start_says_what_would_mend_it(application: Application, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("no audit log\n")
    overrides = {"audit": {"file": str(taken)}}
    async with serve_process(application, tmp_path, overrides) as served:
        assert await served.process.ended() == EX_CONFIG
        said = "\n".join(served.process.text)
        assert "cannot start:" in said
        assert "is no audit log; name another file, or move it away" in said
        assert "Traceback" not in said


async def test_a_killed_worker_leaves_a_log_that_goes_on(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path, {"audit": {"durability": "durable"}}) as served:
        for count in (1, 2):
            worker = await served.process.line("serving", count=count)
            stub = await probe(served)
            codes = await asyncio.gather(*(stub.Unary(pb.Ask(act="one")).code() for _ in range(20)))
            assert set(codes) == {grpc.StatusCode.OK}
            os.kill(worker["pid"], signal.SIGKILL)
        await served.process.line("serving", count=3)
    finding = verify(served.settings.audit.file)
    assert (finding.problem, finding.codes) == ("", {"OK": 40})


async def test_a_worker_whose_supervisor_is_killed_ends_in_order(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path) as served:
        assert (await ending((await probe(served)).Unary(pb.Ask(act="one")))).code is grpc.StatusCode.OK
        served.process.process.kill()
        assert await served.process.ended() == -signal.SIGKILL  # its output ends with that of the last worker
        assert served.process.lines[-1]["event"] == "stopped"
        assert verify(served.settings.audit.file).codes == {"OK": 1}
