"""Several workers on one port: what one of them goes through, callers do not notice.

One service for all tests of the file, on gRPC's own serving loop, which one call with a hostile path ends; the last
test stops it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio

from secure_rpc.audit.verify import verify
from secure_rpc.dev.authority import Authority, Leaf, Request, client_request
from secure_rpc.platform import Application
from secure_rpc.workers.control import audit_files

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support import http2
from support.processes import Served, readiness, serve_process

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOT_UTF8 = b"/a/B\xff"
WORKERS = 2
HOSTILE_CALLS = int(os.environ.get("HOSTILE_CALLS", "2"))
CALLERS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    settings = {
        "workers": WORKERS,
        "quota_scope": "worker",
        "standby_worker": True,
        "serving_loop": "grpc",
        "shutdown": {"grace_seconds": 30},
    }
    folder = tmp_path_factory.mktemp("workers")
    async with serve_process(application, folder, settings, served_module="support.steady_application") as running:
        await ready(running)
        yield running


async def ready(served: Served) -> None:
    """Wait until as many workers as there should be take calls."""
    async with asyncio.timeout(60):
        while (await metrics(served)).get("secure_rpc_workers_ready") != WORKERS:  # noqa: ASYNC110  # a process tells nobody
            await asyncio.sleep(0.05)


async def metrics(served: Served) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
        text = (await admin.get("/metrics")).text
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)", text, re.MULTILINE)}


@asynccontextmanager
async def calls_under_way(served: Served, least_calls: int = 20) -> AsyncIterator[Counter[str]]:
    """Make calls all the while, on a few channels with the shipped retry policy; count how they ended, and where."""
    seen: Counter[str] = Counter()
    enough = asyncio.Event()

    async def keep_asking() -> None:
        channel = await served.channel()
        stub: Any = probe_pb2_grpc.SteadyServiceStub(channel)
        while not enough.is_set():
            try:
                seen[f"worker {(await stub.Get(pb.Ask())).text}"] += 1
            except grpc.aio.AioRpcError as error:
                seen[f"{error.code().name}: {error.details()}"] += 1
        await channel.close()

    async def more() -> None:
        already = seen.total()
        async with asyncio.timeout(20):
            while seen.total() < already + least_calls:  # noqa: ASYNC110  # an event would not make it clearer
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(keep_asking()) for _ in range(CALLERS)]
    try:
        await more()
        yield seen
        await more()
    finally:
        enough.set()
        await asyncio.gather(*tasks)


def failed(seen: Counter[str]) -> dict[str, int]:
    return {outcome: count for outcome, count in seen.items() if not outcome.startswith("worker ")}


async def hostile_call(served: Served) -> None:
    """Make the call that ends the worker it comes to."""
    with suppress(OSError):
        async with served.raw() as connection:
            await connection.call(NOT_UTF8)
            async with asyncio.timeout(5):
                while True:
                    await connection.receive()


async def test_all_workers_take_calls_and_the_numbers_are_those_of_all(served: Served) -> None:
    path = 'grpc_server_call_duration_seconds_count{grpc_method="probe.v1.SteadyService/Get",grpc_status="OK"}'
    total = 0
    workers: set[str] = set()
    async with asyncio.timeout(20):
        while len(workers) < WORKERS:
            async with calls_under_way(served, least_calls=1) as seen:
                pass
            assert failed(seen) == {}
            workers |= set(seen)
            total += seen.total()
    assert (await metrics(served))[path] == total
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
        assert (await readiness(admin)).json() == {"ready": True}
        assert (await admin.get("/healthz")).text == "ok\n"


def deaths(served: Served) -> int:
    """Return how many workers have died so far, whatever tests came before."""
    return len([line for line in served.process.lines if line["event"] == "a worker has died and is replaced"])


async def test_a_killed_worker_is_replaced_within_a_second_and_calls_go_on(served: Served) -> None:
    pid = await served.worker_pid()
    before = len([line for line in served.process.lines if line["event"] == "serving"])
    async with calls_under_way(served) as seen:
        os.kill(pid, signal.SIGKILL)
        died = await served.process.line("a worker has died and is replaced")
        serving = await served.process.line("serving", count=before + 1)
    assert failed(seen) == {}
    assert (died["cause"], died["pid"], died["in_seconds"]) == ("SIGKILL", pid, 0)
    elapsed = datetime.fromisoformat(serving["timestamp"]) - datetime.fromisoformat(died["timestamp"])
    assert elapsed < timedelta(seconds=2), "one stood by: this takes 0.2 s on a machine with nothing else to do"
    await ready(served)
    assert (await metrics(served))['secure_rpc_worker_restarts_total{cause="SIGKILL"}'] == 1


async def test_no_caller_notices_the_calls_that_end_a_serving_loop(served: Served) -> None:
    before = deaths(served)
    async with calls_under_way(served) as seen:
        for number in range(HOSTILE_CALLS):
            await hostile_call(served)
            await served.process.line("a worker has died and is replaced", count=before + number + 1)
            await ready(served)
    assert failed(seen) == {}
    assert (await metrics(served))['secure_rpc_worker_restarts_total{cause="exit_70"}'] == HOSTILE_CALLS


async def test_failed_handshakes_are_counted_by_reason(served: Served, tmp_path: Path) -> None:
    files = served.files
    authority = Authority.load(files.ca_certificate, files.ca_key)
    trust_domain = served.settings.authentication.trust_domain
    yesterday = datetime.now(UTC) - timedelta(days=2)
    leaves: dict[str, Leaf] = {
        "expired": authority.issue(Request("late", not_before=yesterday, lifetime=timedelta(days=1))),
        "untrusted": Authority.create("foreign").issue(client_request("stranger", trust_domain)),
    }
    contexts: dict[str, ssl.SSLContext | None] = {"not_tls": None}
    for reason, leaf in leaves.items():
        leaf.write(tmp_path / f"{reason}.pem", tmp_path / f"{reason}.key")
        contexts[reason] = http2.tls_context(
            files.ca_certificate, tmp_path / f"{reason}.pem", tmp_path / f"{reason}.key"
        )
    contexts["no_certificate"] = ssl.create_default_context(cafile=str(files.ca_certificate))
    old = contexts["old_protocol"] = http2.tls_context(files.ca_certificate, files.client_certificate, files.client_key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    port, times = int((await served.process.address()).rpartition(":")[2]), 40
    before = await metrics(served)

    async def knock(context: ssl.SSLContext | None) -> None:
        with suppress(OSError):
            async with http2.connect(port, context) as connection:
                await connection.receive()

    await asyncio.gather(*(knock(context) for context in contexts.values() for _ in range(times)))
    name = 'grpc_server_tls_handshake_failures_total{{reason="{}"}}'
    expected = {reason: float(times) for reason in contexts}
    found: dict[str, float] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(5):  # for the threads that read to come to the last line
            while found != expected:
                after = await metrics(served)
                found = {reason: after[name.format(reason)] - before[name.format(reason)] for reason in contexts}
    assert found == expected
    started = "grpc_server_tls_handshakes_started_total"
    assert after[started] - before[started] == times * len(contexts)
    assert not [line for line in served.process.text if "Handshake failed" in line]


async def test_sighup_replaces_all_workers_and_no_call_is_lost(served: Served) -> None:
    before = deaths(served)
    async with calls_under_way(served, least_calls=100) as seen:
        first = set(seen)
        served.signal(signal.SIGHUP)
        await served.process.line("rolled")
    assert failed(seen) == {}
    assert set(seen) - first, "new workers have taken calls"
    assert deaths(served) == before


async def test_sigterm_under_calls_ends_all_in_order(served: Served, tmp_path: Path) -> None:
    """The last one: the service is gone then, and its audit logs tell of every call."""
    stub: Any = probe_pb2_grpc.SteadyServiceStub(await served.channel())
    enough = tmp_path / "enough"
    under_way = [stub.Get(pb.Ask(act=str(enough)), timeout=60) for _ in range(50)]
    async with asyncio.timeout(30):
        while (await metrics(served))["secure_rpc_calls_in_flight"] < len(under_way):
            pass
    served.signal(signal.SIGTERM)
    await served.process.line("draining", count=HOSTILE_CALLS + 2 * WORKERS)  # those that crashed, rolled, end now
    enough.touch()
    assert Counter([(await call.code()).name for call in under_way]) == {"OK": len(under_way)}
    assert await served.process.ended(served.settings.shutdown.grace_seconds) == 0
    findings = [verify(file) for file in audit_files(served.settings)]
    assert [finding.path.name for finding in findings] == ["audit.log", "audit.1.log", "audit.2.log"]
    assert [finding.problem for finding in findings] == [""] * 3
    assert sum(finding.codes["OK"] for finding in findings) >= len(under_way)
