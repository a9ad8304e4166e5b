"""The limit goes down while work waits, to its floor, and comes up again; one slow step changes nothing."""

from __future__ import annotations

import asyncio

import pytest

from secure_rpc.shedding.limit import MOST, SAMPLES, AdaptiveLimit, LagProbe

TARGET = 0.002


def decide(limit: AdaptiveLimit, lag_seconds: float, under_way: int = 1000, times: int = 1) -> int:
    for _ in range(times * SAMPLES):
        limit.saw(lag_seconds, under_way)
    return limit.calls


def test_it_begins_at_its_ceiling_and_stays_there_while_nothing_waits() -> None:
    limit = AdaptiveLimit(20, 1000, TARGET)
    assert limit.calls == 1000
    assert decide(limit, TARGET, times=10) == 1000


def test_it_goes_down_by_how_long_work_waits_but_not_by_more_than_half_at_once() -> None:
    for lag, expected in ((TARGET * 100, 500), (TARGET / 0.8, 800), (TARGET * 1.0001, 950)):
        limit = AdaptiveLimit(20, 1000, TARGET)
        assert decide(limit, lag) == expected
        assert limit.lag_seconds == lag


@pytest.mark.parametrize(("counts", "lag"), [(0, 0.0), (MOST, 0.4)])
def test_the_least_wait_decides_or_all_but_the_greatest(counts: int, lag: float) -> None:
    limit = AdaptiveLimit(20, 1000, TARGET, counts)
    for wait in (0.0, 0.9, 0.1, 0.4, 0.2):
        limit.saw(wait, 100)
    assert limit.lag_seconds == lag


def test_it_starts_from_what_is_under_way_and_ends_at_its_floor() -> None:
    limit = AdaptiveLimit(20, 1000, TARGET)
    assert decide(limit, 1.0, under_way=100) == 50
    assert decide(limit, 1.0, under_way=50, times=20) == 20


def test_it_comes_up_again_slowly_to_its_ceiling() -> None:
    limit = AdaptiveLimit(20, 1000, TARGET)
    decide(limit, 1.0, under_way=20, times=3)
    seen = [limit.calls]
    while seen[-1] < 1000:
        seen.append(decide(limit, 0.0))
        assert seen[-2] < seen[-1] <= seen[-2] * 1.05 + 2
    assert len(seen) < 100  # some 10 s, at 0.1 s each
    assert decide(limit, 0.0) == 1000


def test_one_slow_step_among_others_changes_nothing() -> None:
    limit = AdaptiveLimit(20, 1000, TARGET)
    for number in range(10 * SAMPLES):
        limit.saw(0.0 if number % SAMPLES == 2 else 1.0, 1000)
    assert limit.calls == 1000


def test_a_floor_above_the_ceiling_is_the_ceiling() -> None:
    limit = AdaptiveLimit(20, 3, TARGET)
    assert decide(limit, 1.0, times=5) == 3


async def test_the_probe_measures_how_long_what_was_ready_takes() -> None:
    loop, seen = asyncio.get_running_loop(), asyncio.Queue[float]()
    done: list[int] = []
    asked: list[int] = []

    def clock() -> float:
        """Tell the time in steps of work; whoever asks first, as the timer is due, finds a hundred that are ready."""
        if len(asked) % 2 == 0:
            for number in range(100):
                loop.call_soon(done.append, number)
        asked.append(1)
        return float(len(done))

    task = asyncio.create_task(LagProbe(0.0, seen.put_nowait, clock).keep())
    assert [await seen.get() for _ in range(3)] == [100.0] * 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
