"""The supervisor with workers that have no service: what it does when they die, hang, or cannot start."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from secure_rpc.admin import Exposure
from secure_rpc.workers import process, reporting, supervisor
from secure_rpc.workers.supervisor import Supervisor, pause_seconds

STAND_IN = Path("tests/support/stand_in_worker.py")
SERVES: dict[str, Any] = {}
COUNTED = [
    {"name": "a", "help": "h", "type": "counter", "unit": "", "mode": "all", "samples": [["a_total", {}, 1.0, None]]}
]


class Supervised:
    """A supervisor that runs, and the traces of its workers."""

    def __init__(self, folder: Path, lives: Sequence[dict[str, Any]], **plan: Any) -> None:
        plan = {
            "workers": 1,
            "standby": False,
            "embedded_store": None,
            "address": "127.0.0.1:0",
            "exposure": Exposure("127.0.0.1:0").as_dict(),
            "stop_seconds": 5.0,
            "log_format": "json",
            "log_level": "critical",
            "log_fields": {},
            **plan,
        }
        (folder / "plan.json").write_text(json.dumps(plan))
        (folder / "lives.json").write_text(json.dumps(lives))
        self.folder = folder
        self._command = [sys.executable, "-S", "-E", str(STAND_IN), str(folder)]
        self.supervisor = Supervisor(self._command)

    async def run(self) -> int:
        return await self.supervisor.run(await process.start(self._command))

    @property
    def starts(self) -> int:
        return len(list(self.folder.glob("start-*")))

    @property
    def slots(self) -> list[int]:
        """Return the slots of all processes that were ever ready, one for each."""
        return sorted(int(path.name.split("-")[1]) for path in self.folder.glob("slot-*"))

    @property
    def pids(self) -> set[int]:
        return {worker.pid for worker in self.supervisor._workers if worker.is_ready}

    def restarts(self) -> dict[str, float]:
        [family] = self.supervisor._report._restarts.collect()
        return {
            each.labels["cause"]: each.value for each in family.samples if each.value and each.name.endswith("_total")
        }

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  # processes tell nobody
                await asyncio.sleep(0.01)

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.supervisor._admin_ports[0]}") as client:
            return await client.get(path)


@asynccontextmanager
async def supervised(
    folder: Path, *lives: dict[str, Any], code: int = 0, ready: int = 1, **plan: Any
) -> AsyncIterator[Supervised]:
    """Run until some workers are ready; at the end it must stop with an exit code."""
    running = Supervised(folder, lives, **plan)
    task = asyncio.create_task(running.run())
    try:
        await running.until(lambda: len(running.pids) == ready)
        yield running
    finally:
        running.supervisor._begin_to_stop()
        async with asyncio.timeout(10):
            ended = await task
    assert ended == code
    assert not running.supervisor._processes or all(worker.has_ended for worker in running.supervisor._processes)


def test_the_supervisor_never_imports_grpc() -> None:
    code = "import secure_rpc.cli, secure_rpc.workers.supervisor, sys; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- at the start ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "code"),
    [
        ({"exit_at_once": 78}, 78),
        ({"exit_at_once": 0}, 0),
        ({"exit_unready": 78}, 78),
        ({"exit_unready": 1}, 1),
    ],
    ids=str,
)
async def test_a_first_worker_that_cannot_start_ends_it_all_at_once(
    tmp_path: Path, life: dict[str, int], code: int
) -> None:
    running = Supervised(tmp_path, [life], workers=3)
    assert (await running.run(), running.starts) == (code, 1)


@pytest.mark.parametrize("setting", ["address", "admin_address", "probe_address"])
async def test_an_address_in_use_is_told_by_the_worker_that_read_the_settings(tmp_path: Path, setting: str) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        exposed = {"address": "127.0.0.1:0", "probe_address": "", "tls": None}
        plans: dict[str, dict[str, Any]] = {
            "address": {"address": address},
            "admin_address": {"exposure": {**exposed, "address": address}},
            "probe_address": {"exposure": {**exposed, "probe_address": address}},
        }
        running = Supervised(tmp_path, [SERVES], **plans[setting])
        assert (await running.run(), running.starts) == (78, 1)
    assert f"listen.{setting}: {address} cannot be had (Address already in use" in (tmp_path / "refused").read_text()


async def test_each_worker_has_a_place_of_its_own(tmp_path: Path) -> None:
    async with supervised(tmp_path, SERVES, workers=3, ready=3) as running:
        assert running.slots == [0, 1, 2]


# --- death -------------------------------------------------------------------------------------------------------


async def test_the_dead_are_replaced_and_counted_by_how_they_died(tmp_path: Path) -> None:
    crash = {"signal": signal.SIGKILL}
    async with supervised(tmp_path, SERVES, crash, crash, SERVES, workers=2, ready=2) as running:
        await running.until(lambda: running.restarts() == {"SIGKILL": 2} and len(running.pids) == 2)
        assert running.slots == [0, 1, 1, 1]  # each took the place of the one before


async def test_what_cannot_start_is_tried_again_after_ever_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    fails = {"exit_unready": 3}
    async with supervised(tmp_path, SERVES, fails, fails, {"exit_at_once": 4}, SERVES, workers=2, ready=2) as running:
        assert running.restarts() == {"other": 3}  # the log says how exactly


def test_pauses_double_and_have_an_end() -> None:
    assert [pause_seconds(times, 1.0) for times in range(7)] == [0, 0.1, 0.2, 0.4, 0.8, 1, 1]
    assert pause_seconds(10_000, 30.0) == 30


async def test_one_that_stands_by_takes_the_place_of_the_dead(tmp_path: Path) -> None:
    async with supervised(tmp_path, SERVES, standby=True) as running:
        await running.until(lambda: running.supervisor._standby is not None and running.supervisor._standby.is_loaded)
        standby = running.supervisor._standby
        assert standby is not None
        [worker] = running.supervisor._workers
        await worker.kill()
        await running.until(lambda: running.pids == {standby.pid})
        await running.until(lambda: running.starts == 3)  # and has another one stand by


async def test_what_the_dead_had_counted_is_counted_on(tmp_path: Path) -> None:
    async with supervised(tmp_path, {"metrics": COUNTED}, workers=2, ready=2) as running:
        assert "\na_total 2.0\n" in (await running.get("/metrics")).text
        await running.supervisor._workers[0].kill()
        await running.until(lambda: running.restarts() == {"SIGKILL": 1} and len(running.pids) == 2)
        text = (await running.get("/metrics")).text
        assert "\na_total 3.0\n" in text
        assert '\nsecure_rpc_worker_restarts_total{cause="SIGKILL"} 1.0\n' in text
        assert "\nsecure_rpc_workers_ready 2.0\n" in text


# --- rolling -----------------------------------------------------------------------------------------------------


async def test_a_roll_replaces_every_worker_and_never_leaves_fewer(tmp_path: Path) -> None:
    async with supervised(tmp_path, SERVES, workers=2, ready=2) as running:
        before = running.pids
        fewest = 2
        running.supervisor._roll_asked.set()

        def is_rolled() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(running.pids))
            return len(running.pids) == 2 and not running.pids & before

        await running.until(is_rolled)
        assert (fewest, running.restarts(), running.starts) == (2, {}, 4)
        assert running.slots == [0, 0, 1, 2]  # old and new write different audit logs


async def test_a_roll_to_what_cannot_start_is_given_up_and_the_old_go_on(tmp_path: Path) -> None:
    async with supervised(tmp_path, SERVES, SERVES, {"exit_at_once": 78}, workers=2, ready=2) as running:
        before = running.pids
        running.supervisor._roll_asked.set()
        await running.until(lambda: running.starts == 3 and not running.supervisor._roll_asked.is_set())
        assert (await running.get("/readyz")).status_code == 200
        assert (running.pids, running.starts) == (before, 3)


@pytest.mark.parametrize(("had", "has", "stops"), [(True, False, True), (True, True, False), (False, False, False)])
async def test_the_end_of_the_terminal_is_no_wish_to_roll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, had: bool, has: bool, stops: bool
) -> None:
    monkeypatch.setattr(supervisor, "has_terminal", lambda: has)
    running = Supervised(tmp_path, [SERVES]).supervisor
    running._hear_hangup(had)
    assert (running._stopping.is_set(), running._roll_asked.is_set()) == (stops, not stops)


# --- the end -----------------------------------------------------------------------------------------------------


async def test_a_worker_that_does_not_end_is_killed_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    async with supervised(tmp_path, {"deaf": True}, code=128 + signal.SIGKILL, stop_seconds=0.2):
        pass


async def test_a_stop_amid_a_start_is_in_order(tmp_path: Path) -> None:
    running = Supervised(tmp_path, [SERVES], workers=2)
    first = await process.start(running._command)
    task = asyncio.create_task(running.supervisor.run(first))
    await first.plan()
    running.supervisor._begin_to_stop()
    assert await task == 0


# --- the admin port ----------------------------------------------------------------------------------------------


async def test_one_worker_that_is_ready_is_enough(tmp_path: Path) -> None:
    unready = {"status": ["audit records cannot be written"]}
    async with supervised(tmp_path, SERVES, unready, workers=2, ready=2) as running:
        assert (await running.get("/readyz")).status_code == 200
        await next(worker for worker in running.supervisor._workers if worker.slot == 0).kill()
        await running.until(lambda: len(running.pids) == 2)
        answer = await running.get("/readyz")
        reasons = [f"worker {slot}: audit records cannot be written" for slot in (0, 1)]
        assert (answer.status_code, sorted(answer.json()["because"])) == (503, reasons)


async def test_a_worker_that_hangs_is_unready_and_in_the_end_unhealthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(reporting, "HUNG_SECONDS", 0.2)
    async with supervised(tmp_path, {"deaf": True}, code=137, stop_seconds=0.1) as running:
        assert (await running.get("/healthz")).status_code == 200
        assert (await running.get("/readyz")).json()["because"] == ["does not answer"]
        await asyncio.sleep(0.2)
        answer = await running.get("/healthz")
        assert answer.status_code == 503
        assert answer.json()["because"][0].startswith("worker 0 has not answered for ")
