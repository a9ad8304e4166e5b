"""Quotas of one process, against a model that counts in whole numbers; time is the test's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from secure_rpc.quota import Quota, QuotaKey
from secure_rpc.state.memory import MemoryQuotas


@dataclass
class Clock:
    now: float = 12_345.678

    def __call__(self) -> float:
        return self.now


def key(name: str = "alice", quota_class: str = "default") -> QuotaKey:
    return QuotaKey(name, "acme", quota_class)


async def taken(quotas: MemoryQuotas, quota: Quota, count: int, who: QuotaKey | None = None) -> int:
    """Return how many of that many calls were within the quota."""
    return sum([quotas.take(who or key(), quota) == 0 for _ in range(count)])


@pytest.mark.parametrize("uptime", [0.0, 12_345.678, 1_000_000 + 1 / 3, 31_536_000.1])
async def test_a_burst_is_exactly_as_large_as_the_quota_says(uptime: float) -> None:
    for calls in (*range(1, 60), 100, 333, 1000):
        assert await taken(MemoryQuotas(clock=lambda: uptime), Quota(calls=calls), calls + 5) == calls


@pytest.mark.parametrize("burst", [1, 3, 50])
async def test_a_burst_of_its_own_is_taken_instead(burst: int) -> None:
    quota = Quota(calls=10, period_seconds=1, burst=burst)
    assert await taken(MemoryQuotas(clock=Clock()), quota, burst + 5) == burst


async def test_who_waits_as_told_is_served_and_who_does_not_is_not() -> None:
    clock, quota = Clock(), Quota(calls=4, period_seconds=2)
    quotas = MemoryQuotas(clock=clock)
    assert await taken(quotas, quota, 4) == 4
    wait_seconds = quotas.take(key(), quota)
    assert wait_seconds == pytest.approx(0.5)
    clock.now += wait_seconds - 0.1
    assert quotas.take(key(), quota) == pytest.approx(0.1)
    clock.now += 0.1
    assert quotas.take(key(), quota) == 0
    assert quotas.take(key(), quota) == pytest.approx(0.5)


async def test_refused_calls_cost_nothing() -> None:
    clock, quota = Clock(), Quota(calls=1)
    quotas = MemoryQuotas(clock=clock)
    assert await taken(quotas, quota, 1000) == 1
    clock.now += 1
    assert quotas.take(key(), quota) == 0


async def test_no_two_periods_in_a_row_let_twice_the_quota_through_at_their_border() -> None:
    clock, quota = Clock(), Quota(calls=10)
    quotas = MemoryQuotas(clock=clock)
    clock.now += 0.99
    assert await taken(quotas, quota, 20) == 10
    clock.now += 0.02
    assert await taken(quotas, quota, 20) == 0


async def test_callers_and_classes_do_not_share_a_quota() -> None:
    quotas, quota = MemoryQuotas(clock=Clock()), Quota(calls=2)
    assert await taken(quotas, quota, 5) == 2
    assert await taken(quotas, quota, 5, key("bob")) == 2
    assert await taken(quotas, quota, 5, key("alice", "bulk")) == 2


async def test_another_quota_counts_from_the_next_call_on_and_no_wait_is_left_of_the_one_before() -> None:
    clock, slow, fast = Clock(), Quota(calls=1, period_seconds=1_000_000), Quota(calls=2)
    quotas = MemoryQuotas(clock=clock)
    assert await taken(quotas, slow, 2) == 1
    assert quotas.take(key(), fast) == pytest.approx(0.5)
    clock.now += 1
    assert await taken(quotas, fast, 5) == 2


async def test_what_remains_is_what_could_be_taken_now() -> None:
    clock, quota = Clock(), Quota(calls=4, period_seconds=2)
    quotas = MemoryQuotas(clock=clock)
    assert quotas.remaining(key(), quota) == 4
    for left in (3, 2, 1, 0, 0):
        quotas.take(key(), quota)
        assert quotas.remaining(key(), quota) == left
    clock.now += 0.5
    assert quotas.remaining(key(), quota) == 1


async def test_a_quota_without_practical_end_lets_all_calls_through() -> None:
    quotas = MemoryQuotas(clock=lambda: 1e6)  # adding the cost of one call to it changes nothing
    assert await taken(quotas, Quota(calls=10**12), 50) == 50


async def test_no_more_callers_are_remembered_than_told() -> None:
    quotas = MemoryQuotas(size=100, clock=Clock())
    for number in range(1000):
        quotas.take(key(str(number)), Quota(calls=1))
        assert len(quotas) <= 100


async def test_the_caller_forgotten_is_the_one_that_called_longest_ago() -> None:
    quotas, quota = MemoryQuotas(size=2, clock=Clock()), Quota(calls=1)
    for name in ("alice", "bob", "alice", "carol"):  # bob is forgotten
        quotas.take(key(name), quota)
    assert quotas.take(key("alice"), quota) > 0
    assert quotas.take(key("bob"), quota) == 0


async def test_callers_whose_time_is_up_are_forgotten_a_few_at_a_time() -> None:
    clock, quota = Clock(), Quota(calls=1)
    quotas = MemoryQuotas(clock=clock)
    for number in range(100):
        quotas.take(key(str(number)), quota)
    clock.now += 2
    for number in range(99):
        quotas.take(key("alice"), quota)
        assert len(quotas) == max(101 - 2 * (number + 1), 1)


@pytest.mark.parametrize(
    "wrong", [{"calls": 0}, {"calls": -1}, {"calls": 1, "period_seconds": 0}, {"calls": 1, "burst": -1}]
)
def test_a_quota_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Quota.model_validate(wrong)


@settings(deadline=None, max_examples=200)
@given(
    calls=st.integers(1, 50),
    burst=st.integers(0, 20),
    period=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["alice", "bob"])), max_size=80),
)
async def test_each_call_is_answered_as_the_model_says(
    calls: int, burst: int, period: int, steps: list[tuple[int, str]]
) -> None:
    """The model counts in 1/calls of a second, so that all its times are whole numbers: there a call costs `period`."""
    start = 1_000.125
    clock = Clock(start)
    quota = Quota(calls=calls, period_seconds=period, burst=burst)
    quotas = MemoryQuotas(clock=clock)
    now, due = 0, {"alice": 0, "bob": 0}
    for step, who in steps:
        now += step
        clock.now = start + now / calls
        due[who] = max(due[who], now)
        early = due[who] - now - period * ((burst or calls) - 1)
        if early <= 0:
            due[who] += period
        assert quotas.take(key(who), quota) == pytest.approx(max(early, 0) / calls, abs=1e-6)
