"""Refusals are held back a while, so many and no more, whoever asks."""

from __future__ import annotations

import asyncio

import pytest

from secure_rpc.shedding.delays import Delays


class Paused:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.over.wait()


async def test_only_so_many_are_held_in_all_and_of_each_peer_and_the_others_go_at_once() -> None:
    pause = Paused()
    delays = Delays(1.0, 4, 3, chance=lambda: 0.75, pause=pause)
    tasks = [asyncio.create_task(delays.hold(name)) for name in "aaaaabbb"]
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, False, False, True, True, False, True, True]
    assert (delays.held, delays.peers, pause.asked) == (4, 2, [1.25] * 4)
    pause.over.set()
    await asyncio.gather(*tasks)
    assert (delays.held, delays.peers) == (0, 0)


async def test_the_more_of_a_peer_are_held_the_longer_so_that_it_gets_no_more_refusals_a_second() -> None:
    pause = Paused()
    delays = Delays(1.0, 100, 100, per_second_per_peer=2.0, chance=lambda: 0.5, pause=pause)
    tasks = [asyncio.create_task(delays.hold(name)) for name in "aaaaab"]
    await asyncio.sleep(0)
    assert pause.asked == [1.0, 1.0, 1.5, 2.0, 2.5, 1.0]
    pause.over.set()
    await asyncio.gather(*tasks)
    await delays.hold("a")
    assert pause.asked[-1] == 1.0


async def test_callers_who_go_away_make_room_again() -> None:
    delays = Delays(1.0, 1, 1, pause=Paused())
    task = asyncio.create_task(delays.hold("a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (delays.held, delays.peers) == (0, 0)


async def test_no_delay_means_none() -> None:
    pause = Paused()
    await Delays(0.0, 10, 10, pause=pause).hold("a")
    assert pause.asked == []
