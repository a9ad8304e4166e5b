"""Quotas in one store for all replicas: exact at full load, and what becomes of calls while the store is away."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application
from secure_rpc.quota import Quota
from secure_rpc.state.availability import PAUSE_SECONDS, StoreUnavailable
from secure_rpc.state.connection import State
from secure_rpc.state.memory import MemoryQuotas
from secure_rpc.state.quota_account import SHARE
from secure_rpc.state.quotas import answered
from secure_rpc.state.redis import FAILURES, Store
from secure_rpc.state.redis_quotas import RedisQuotas
from secure_rpc.testing.service import run_service

from support.clocks import Clock
from support.delays import delayed
from support.quotas import key
from support.stores import RealStore, real_store
from support.target import reason_of, run_target

[RULE] = [line for line in Path("docs/quotas.md").read_text().splitlines() if line.startswith("user quotas")]
QUOTA = Quota(calls=8, period_seconds=1_000_000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RealStore]:
    async with real_store(tmp_path / "store") as running:
        yield running


class Replica:
    """One, and its connection; the clock is that of the connection's circuit breaker."""

    def __init__(self, port: int, *, opens: bool, timeout_seconds: float, patience_seconds: float) -> None:
        self.clock = Clock()
        self.without_store: list[bool] = []
        state = State(redis_url=f"redis://127.0.0.1:{port}", timeout_seconds=timeout_seconds)
        self.store = Store(state, "orders", clock=self.clock)
        self.quotas = RedisQuotas(
            self.store,
            patience_seconds,
            MemoryQuotas() if opens else None,
            on_decision_without_store=self.without_store.append,
        )

    async def outcome(self, name: str = "alice") -> str:
        try:
            return "refused" if await answered(self.quotas.take(key(name), QUOTA)) else "allowed"
        except StoreUnavailable:
            return "unavailable"

    async def outcomes(self, count: int, name: str = "alice") -> list[str]:
        return [await self.outcome(name) for _ in range(count)]

    async def recovers(self) -> None:
        """Wait until the store decides again; nothing but time, which is moved here, has to pass."""
        async with asyncio.timeout(20):
            while True:
                self.clock.pass_(PAUSE_SECONDS)
                before = len(self.without_store)
                await self.outcome("somebody else")
                if len(self.without_store) == before:
                    return
                await asyncio.sleep(0.01)


MakeReplica = Callable[..., Replica]


@pytest.fixture
async def replica() -> AsyncIterator[MakeReplica]:
    made: list[Replica] = []

    def make(
        port: int, *, opens: bool = True, timeout_seconds: float = 5, patience_seconds: float | None = None
    ) -> Replica:
        patience = timeout_seconds if patience_seconds is None else patience_seconds
        made.append(Replica(port, opens=opens, timeout_seconds=timeout_seconds, patience_seconds=patience))
        return made[-1]

    yield make
    for each in made:
        await each.quotas.close()
        await each.store.close()


# --- at full load ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [9, 400])
async def test_four_processes_at_full_load_let_through_what_the_quota_allows(store: RealStore, calls: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.spend_quota", store.url, str(calls)]
    processes = [
        await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
        )
        for _ in range(4)
    ]
    found = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    total = sum(int(said) for said, _ in found)
    assert calls - calls // SHARE <= total <= calls


async def test_the_store_needs_to_allow_no_more_than_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "users.acl").write_text(f"user default off\n{RULE}\n")
    (tmp_path / "password").write_text("correct-horse")
    async with real_store(tmp_path / "store", "--aclfile", str(tmp_path / "users.acl")) as guarded:
        state = State(redis_url=guarded.url, timeout_seconds=5, username="quotas", password_file=tmp_path / "password")
        connection = Store(state, "orders")
        quotas = RedisQuotas(connection, 5, None)
        assert [await answered(quotas.take(key(), QUOTA)) == 0 for _ in range(9)] == [True] * 8 + [False]
        await quotas.close()
        await connection.close()


# --- the store is away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opens", "expected"), [(True, ["allowed"] * 8 + ["refused"]), (False, ["unavailable"] * 9)])
async def test_a_store_that_was_killed_is_done_without_as_the_setting_says_and_is_back_by_itself(
    store: RealStore, replica: MakeReplica, *, opens: bool, expected: list[str]
) -> None:
    one = replica(store.port, opens=opens)
    assert await one.outcomes(5) == ["allowed"] * 5
    store.kill()
    assert await one.outcomes(9) == expected
    assert one.without_store == [outcome == "allowed" for outcome in expected]
    store.start()
    await one.recovers()
    assert await one.outcomes(4) == ["allowed"] * 3 + ["refused"]  # it has kept what it had


@pytest.mark.parametrize(("opens", "expected"), [(True, "allowed"), (False, "unavailable")])
async def test_a_store_that_hangs_is_not_waited_for_longer_than_told(
    store: RealStore, replica: MakeReplica, *, opens: bool, expected: str
) -> None:
    """The connection itself would wait for 30 seconds."""
    one = replica(store.port, opens=opens, timeout_seconds=10, patience_seconds=0.05)
    with store.halted():
        async with asyncio.timeout(8):
            found = await asyncio.gather(*(one.outcome(str(number)) for number in range(500)))
        assert found == [expected] * 500
        assert len(one.quotas._trips) > 0, "nothing was asked, or it was answered"
    await one.quotas.settled()
    assert await one.outcomes(9, "bob") == ["allowed"] * 8 + ["refused"]


async def test_a_store_that_hangs_costs_a_few_calls_and_not_each(store: RealStore, replica: MakeReplica) -> None:
    one = replica(store.port, timeout_seconds=0.05)
    with store.halted():
        await one.outcomes(FAILURES + 1, "bob")
        failed: list[int] = []
        one.store._on_failure = lambda: failed.append(1)
        assert await one.outcomes(200) == ["allowed"] * 8 + ["refused"] * 192
        assert failed == []  # nobody has waited for it
    await one.recovers()
    assert await one.outcomes(9) == ["allowed"] * 8 + ["refused"]


async def test_a_slow_store_counts_all_the_same(store: RealStore, replica: MakeReplica) -> None:
    async with delayed(store.port, 0.1) as port:
        slow, fast = replica(port), replica(store.port)
        found = await asyncio.gather(*(each.outcome() for each in (slow, fast) for _ in range(10)))
        assert found.count("allowed") == 8
        assert slow.without_store == fast.without_store == []
        await slow.quotas.close()
        await slow.store.close()


async def test_a_store_that_comes_back_empty_begins_anew(
    store: RealStore, replica: MakeReplica, tmp_path: Path
) -> None:
    one = replica(store.port)
    assert await one.outcomes(9) == ["allowed"] * 8 + ["refused"]
    store.kill()
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").mkdir()
    assert (await one.outcomes(1, "bob"))[0] == "allowed"
    store.start()
    await one.recovers()
    another = replica(store.port)
    assert await another.outcomes(9) == ["allowed"] * 8 + ["refused"]


# --- the service -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_services(application: Application, folder: Path, settings: dict[str, Any]) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        running = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            running.append(await stack.enter_async_context(run_target(application, folder / name, settings)))
        yield running


async def test_two_services_share_a_quota_where_they_share_a_store(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    settings: dict[str, Any] = {
        "state": {"redis_url": store.url, "timeout_seconds": 5},
        "quotas": {"default": {"calls": 4, "period_seconds": 1_000_000}},
    }
    async with two_services(application, tmp_path, settings) as services:
        codes = [(await services[number % 2].ask("Unary")).code.name for number in range(6)]
        assert codes == ["OK"] * 4 + ["RESOURCE_EXHAUSTED"] * 2
        assert services[0].service.metric("secure_rpc_quota_round_trips") >= 2
    settings["quota_scope"] = "worker"
    (tmp_path / "apart").mkdir()
    async with two_services(application, tmp_path / "apart", settings) as services:
        codes = [(await services[number % 2].ask("Unary")).code.name for number in range(10)]
        assert codes.count("OK") == 8


@pytest.mark.parametrize(
    ("setting", "code", "reason", "result"),
    [("open", "OK", "", "allowed"), ("closed", "UNAVAILABLE", "QUOTA_STORE_UNAVAILABLE", "refused")],
)
async def test_a_service_whose_store_is_gone_does_as_its_setting_says_and_counts_it(
    application: Application, tmp_path: Path, store: RealStore, setting: str, code: str, reason: str, result: str
) -> None:
    settings = {
        "state": {"redis_url": store.url, "timeout_seconds": 5},
        "quota_store_failure": setting,
        "revocation": {"refuse_when_shared_stale": False},
    }
    (tmp_path / "service").mkdir()
    async with run_target(application, tmp_path / "service", settings) as target:
        assert (await target.ask("Unary")).code.name == "OK"
        store.kill()
        counter = "secure_rpc_quota_decisions_without_store_total"
        async with asyncio.timeout(20):
            while not target.service.metric(counter, result=result):  # until what was reserved is used up
                told = await target.ask("Unary")
        assert told.code.name == code
        if reason:
            assert reason_of(told.trailers).reason == reason


async def test_several_workers_that_would_count_by_themselves_are_refused_at_start_unless_that_is_accepted(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    bare = Application(application.build_chain, lambda _server: None)
    (tmp_path / "policy.yaml").write_text("version: 1\nroles: {}\n")

    async def start(folder: str, **settings: Any) -> None:
        (tmp_path / folder).mkdir()
        authorization = {"policy_file": tmp_path / "policy.yaml", "rollout_file": None}
        overrides = {"workers": 3, "sessions": {"refresh": False}, "authorization": authorization, **settings}
        async with run_service(bare, tmp_path / folder, overrides):
            pass

    with pytest.raises(ConfigurationError) as caught:
        await start("refused")
    [problem] = caught.value.problems
    assert problem.startswith('"workers" is 3, but quotas are counted in each worker by itself: a caller would')
    for remedy in ('"state"', '"quota_scope: worker"', '"workers: 1"'):
        assert remedy in problem
    await start("accepted", quota_scope="worker")
    await start("shared", state={"redis_url": store.url})
