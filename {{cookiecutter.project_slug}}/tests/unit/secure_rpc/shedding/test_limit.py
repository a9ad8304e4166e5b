"""The limit goes down while work waits, to its floor, and comes up again; one slow step changes nothing."""

from __future__ import annotations

import asyncio

import pytest

from secure_rpc.shedding.limit import SAMPLES, AdaptiveLimit, LagProbe

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


async def test_the_probe_measures_one_turn_of_the_loop_at_each_interval() -> None:
    now = 0.0
    pauses: list[float] = []
    seen: list[float] = []

    async def pause(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds or 0.25  # others have had their turn for so long
        if len(seen) == 3:
            raise asyncio.CancelledError

    probe = LagProbe(0.02, seen.append, clock=lambda: now, pause=pause)
    with pytest.raises(asyncio.CancelledError):
        await probe.keep()
    assert seen == [pytest.approx(0.25)] * 3
    assert pauses == [0.02, 0, 0.02, 0, 0.02, 0, 0.02]


async def test_the_probe_sees_what_stands_before_it_in_a_real_loop() -> None:
    loop, done = asyncio.get_running_loop(), 0
    seen: asyncio.Queue[int] = asyncio.Queue()

    def work() -> None:
        nonlocal done
        done += 1

    async def pause(seconds: float) -> None:
        if not seconds:
            for _ in range(100):  # ready before the probe has its turn again
                loop.call_soon(work)
        await asyncio.sleep(0)

    probe = LagProbe(1.0, lambda lag: seen.put_nowait(int(lag)), clock=lambda: float(done), pause=pause)
    task = asyncio.create_task(probe.keep())
    assert await seen.get() == 100
    task.cancel()
