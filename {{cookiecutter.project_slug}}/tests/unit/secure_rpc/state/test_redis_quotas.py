"""Quotas of several replicas on one real store, against a model with one counter; time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_rpc.quota import Quota
from secure_rpc.state.memory import MemoryQuotas
from secure_rpc.state.quota_account import SHARE
from secure_rpc.state.quota_script import LAPSES_SECONDS
from secure_rpc.state.quotas import answered
from secure_rpc.state.redis_quotas import IDLE_SECONDS

from support.quotas import Replicas, key, replicas
from support.stores import RealStore, real_store

pytestmark = pytest.mark.asyncio(loop_scope="module")
MILLISECOND, SECOND = 1000, 1_000_000
FOUR = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealStore]:
    async with real_store(tmp_path_factory.mktemp("store"), "--appendfsync", "no") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def four(store: RealStore) -> AsyncIterator[Replicas]:
    async with replicas(store, FOUR) as made:
        await made.forget()
        yield made


@pytest.mark.parametrize("calls", [1, 2, 9, 10, 59, 333])
async def test_a_burst_is_exactly_as_large_as_the_quota_says_at_one_replica_and_at_four(
    four: Replicas, calls: int
) -> None:
    quota = Quota(calls=calls)
    assert await four.taken(quota, calls + 5) == calls
    spread = [await answered(four.all[number % FOUR].take(key("bob"), quota)) == 0 for number in range(calls + 5)]
    assert calls - calls // SHARE <= sum(spread) <= calls


async def test_who_waits_as_told_is_served_and_who_does_not_is_not(four: Replicas) -> None:
    quota = Quota(calls=4, period_seconds=2)
    assert await four.taken(quota, 4) == 4
    assert await answered(four.all[1].take(key(), quota)) == pytest.approx(0.5)
    await four.pass_(400 * MILLISECOND)
    assert await answered(four.all[2].take(key(), quota)) == pytest.approx(0.1)
    await four.pass_(100 * MILLISECOND)
    assert await answered(four.all[1].take(key(), quota)) == 0
    assert await answered(four.all[1].take(key(), quota)) == pytest.approx(0.5)


async def test_a_refused_caller_costs_the_store_nothing_until_it_would_be_served(four: Replicas) -> None:
    quota = Quota(calls=1)
    assert await four.taken(quota, 2) == 1
    asked = four.all[0].round_trips
    assert await four.taken(quota, 1000) == 0
    assert four.all[0].round_trips == asked
    await four.pass_(SECOND)
    assert await four.taken(quota, 1) == 1


async def test_a_caller_far_from_its_limit_waits_for_no_round_trip(four: Replicas) -> None:
    quota, replica = Quota(calls=1000), four.all[0]

    async def call() -> bool:
        """Tell whether a call was decided without giving the loop a turn."""
        taking = answered(replica.take(key(), quota))
        try:
            taking.send(None)
        except StopIteration:
            return True
        finally:
            taking.close()
        return False

    await answered(replica.take(key(), quota))
    at_once = 0
    for _ in range(300):  # 100 calls a second, a tenth of the quota
        await four.settled()
        at_once += await call()
        await four.pass_(10 * MILLISECOND)
    assert at_once == 300
    assert replica.round_trips < 100


async def test_what_was_reserved_for_a_caller_that_went_away_is_given_back(four: Replicas) -> None:
    quota = Quota(calls=100, period_seconds=1_000_000)  # nothing comes back by itself
    assert await four.taken(quota, 3) == 3
    assert await four.taken(quota, 100, replica=1) < 97
    await four.pass_(int(IDLE_SECONDS * SECOND))
    four.all[0].give_back()
    assert len(four.all[0]) == 0
    await four.settled()
    left = await four.taken(quota, 100, replica=2)
    await four.pass_(int(IDLE_SECONDS * SECOND))
    four.all[1].give_back()
    await four.settled()
    left += await four.taken(quota, 100, replica=3)
    assert left > 0
    assert await four.taken(quota, 100, who=key("bob")) == 100


async def test_a_replica_that_ends_gives_back_what_it_reserved(store: RealStore, four: Replicas) -> None:
    quota = Quota(calls=100, period_seconds=1_000_000)
    async with replicas(store, 1) as ending:
        ending.microseconds = four.microseconds
        assert await ending.taken(quota, 3) == 3
    assert await four.taken(quota, 200) == 97


async def test_what_a_dead_replica_reserved_counts_as_calls_and_holds_nobody_up_for_long(four: Replicas) -> None:
    quota = Quota(calls=100, period_seconds=1)
    assert await four.taken(quota, 3) == 3
    assert four.all[0]._accounts[key()].stock > 0
    four.all[0]._accounts.clear()  # it is gone
    await four.pass_(int(LAPSES_SECONDS * SECOND) + SECOND)
    assert await four.taken(quota, 200, replica=1) == 100


async def test_a_reservation_that_has_lapsed_is_not_used(four: Replicas) -> None:
    quota = Quota(calls=100, period_seconds=1)
    await four.taken(quota, 3)
    await four.settled()
    assert four.all[0]._accounts[key()].stock > 0
    await four.pass_(int(LAPSES_SECONDS * SECOND))
    assert 90 <= await four.taken(quota, 200, replica=1) < 100  # it counts as calls made until now
    assert await four.taken(quota, 200) == 0


async def test_a_store_that_has_forgotten_everything_is_noticed_at_the_next_question(four: Replicas) -> None:
    quota = Quota(calls=100, period_seconds=1_000_000)
    for _ in range(12):
        await four.taken(quota, 1)
        await four.settled()
    held = four.all[0]._accounts[key()].stock
    assert held > 0
    await four.forget()
    replica, asked = four.all[0], four.all[0].round_trips
    while replica.round_trips == asked:
        await four.taken(quota, 1)
        await four.settled()
    account = replica._accounts[key()]
    entries = await four.stores[0].run(lambda client: client.hgetall(account.name))
    registered = sum(int(value.split()[0]) for name, value in entries.items() if name != b"due")
    assert account.stock + account.used <= registered
    assert 100 - held <= await four.taken(quota, 200) <= 100


async def test_another_quota_counts_from_the_next_call_on(four: Replicas) -> None:
    much, little = Quota(calls=100, period_seconds=1_000_000), Quota(calls=2, period_seconds=1_000_000)
    assert await four.taken(much, 90) == 90
    assert await four.taken(little, 10) == 0
    assert await four.taken(much, 200) == 10
    assert await four.taken(much, 200, who=key("bob")) == 100


async def test_what_remains_is_told_by_what_the_store_said_last(four: Replicas) -> None:
    quota = Quota(calls=20, period_seconds=20)
    assert four.all[0].remaining(key(), quota) == 20
    for left in (19, 18, 17):
        await four.taken(quota, 1)
        await four.settled()
        assert four.all[0].remaining(key(), quota) == left
    await four.pass_(2 * SECOND)
    assert four.all[0].remaining(key(), quota) == 19


async def test_calls_of_one_moment_go_to_the_store_together(four: Replicas) -> None:
    quota = Quota(calls=5)
    found = await asyncio.gather(*(answered(four.all[0].take(key(str(number % 20)), quota)) for number in range(200)))
    assert sum(wait == 0 for wait in found) == 100
    assert four.all[0].round_trips == 1


async def test_no_more_callers_are_remembered_than_told(store: RealStore) -> None:
    async with replicas(store, 1, size=10) as one:
        await one.forget()
        for number in range(100):
            await one.taken(Quota(calls=1000), 1, who=key(str(number)))
            assert len(one.all[0]) <= 10
        await one.settled()
        assert await one.taken(Quota(calls=1000), 1001, who=key("0")) == 999


@pytest.mark.parametrize(
    "hostile",
    [
        ("SET", "text"),
        ("HSET", "due", "nan"),
        ("HSET", "due", "1e300"),
        ("HSET", "due", "never"),
        ("HSET", "due", "0", "thief", "999999999 99999999999999999"),
        ("HSET", "due", "0", "thief", "\x00"),
    ],
)
async def test_hostile_values_in_the_store_cost_one_caller_its_quota_at_most(
    four: Replicas, hostile: tuple[str, ...]
) -> None:
    quota, replica = Quota(calls=100), four.all[0]
    name = replica._name(key())
    command, *values = hostile
    await four.stores[0].run(lambda client: client.execute_command(command, name, *values))  # type: ignore[no-untyped-call]
    assert 0 <= await four.taken(quota, 200) <= 100
    assert await four.taken(quota, 200, who=key("bob")) == 100
    await four.pass_(2 * SECOND)
    assert 90 <= await four.taken(quota, 200) <= 100


steps = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "call", "calls", "together", "idle"]),
        st.integers(0, FOUR - 1),
        st.sampled_from(["alice", "bob"]),
        st.sampled_from([0, 0, 0, 1, 2, 5, 10, 50, 100, 1000, 6000]),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(interval_milliseconds=st.sampled_from([1, 10, 100]), burst=st.sampled_from([1, 5, 10, 23, 50, 100]), steps=steps)
async def test_four_replicas_let_through_what_the_models_let_through(
    four: Replicas, interval_milliseconds: int, burst: int, steps: list[tuple[str, int, str, int]]
) -> None:
    """Not more calls than GCRA with the whole burst, not fewer than GCRA with the burst less a tenth."""
    await four.pass_(100 * SECOND)
    for each in four.all:
        each.give_back(idle_seconds=-1)
    await four.settled()
    await four.forget()
    quota = Quota(calls=1000, period_seconds=interval_milliseconds, burst=burst)
    most = MemoryQuotas(clock=lambda: four.microseconds / 1e6)
    least = MemoryQuotas(clock=lambda: four.microseconds / 1e6)
    lesser = Quota(calls=1000, period_seconds=interval_milliseconds, burst=burst - burst // SHARE)
    counts = {name: [0, 0, 0] for name in ("alice", "bob")}

    async def count(name: str, found: list[float]) -> None:
        seen = counts[name]
        for wait_seconds in found:
            seen[0] += least.take(key(name), lesser) == 0
            seen[1] += wait_seconds == 0
            seen[2] += most.take(key(name), quota) == 0
            assert wait_seconds >= 0
        assert seen[0] <= seen[1] <= seen[2]

    for what, replica, name, milliseconds in steps:
        await four.pass_(milliseconds * MILLISECOND)
        quotas: Any = four.all[replica]
        if what == "idle":
            quotas.give_back(idle_seconds=-1 if milliseconds else IDLE_SECONDS)
        elif what == "together":
            found = await asyncio.gather(
                *(answered(each.take(key(name), quota)) for each in four.all for _ in range(3))
            )
            await count(name, list(found))
        else:
            for _ in range(1 if what == "call" else 15):
                await count(name, [await answered(quotas.take(key(name), quota))])
        await four.settled()
        for one in ("alice", "bob"):
            accounts = [account for each in four.all if (account := each._accounts.get(key(one)))]
            alive = [account for account in accounts if account.lasts_until > four.microseconds / 1e6]
            assert sum(account.stock + account.used for account in alive) <= burst // SHARE
