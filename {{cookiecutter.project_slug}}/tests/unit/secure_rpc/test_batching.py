"""What calls leave behind is handled in order, in slices, once, a little later."""

from __future__ import annotations

import asyncio

import pytest

from secure_rpc.batching import SLICE, Batch


class Handled:
    """Notes each slice; fails on those that hold a given item."""

    def __init__(self, bad: int = -1) -> None:
        self.slices: list[list[int]] = []
        self._bad = bad

    def __call__(self, items: list[int]) -> None:
        self.slices.append(items)
        if self._bad in items:
            raise ValueError("a bad item")

    @property
    def items(self) -> list[int]:
        return [item for each in self.slices for item in each]


async def settle(handled: Handled, count: int) -> int:
    """Return how many turns of the loop it takes until that many items are handled."""
    for turn in range(1000):
        if len(handled.items) >= count:
            return turn
        await asyncio.sleep(0)
    raise AssertionError("the items are not handled")


async def test_items_are_handled_later_in_order_and_once() -> None:
    handled = Handled()
    batch = Batch(handled, delay_seconds=0, pause_seconds=0)
    for number in range(SLICE * 3 + 1):
        batch.add(number)
    assert handled.slices == []
    await settle(handled, SLICE * 3 + 1)
    assert handled.items == list(range(SLICE * 3 + 1))
    assert [len(each) for each in handled.slices] == [SLICE, SLICE, SLICE, 1]


async def test_the_loop_has_a_turn_between_two_slices() -> None:
    handled = Handled()
    batch = Batch(handled, delay_seconds=0, pause_seconds=0)
    for number in range(SLICE * 10):
        batch.add(number)
    assert await settle(handled, SLICE * 10) >= 10


async def test_calls_have_a_pause_between_two_slices() -> None:
    handled = Handled()
    batch = Batch(handled, delay_seconds=0, pause_seconds=60)
    for number in range(SLICE + 1):
        batch.add(number)
    await settle(handled, SLICE)
    loop = asyncio.get_running_loop()
    assert isinstance(batch._timer, asyncio.TimerHandle)
    assert batch._timer.when() - loop.time() == pytest.approx(60, abs=1)
    batch.flush()
    assert [len(each) for each in handled.slices] == [SLICE, 1]


async def test_an_item_waits_for_others_as_long_as_told() -> None:
    handled = Handled()
    batch = Batch(handled, delay_seconds=60)
    batch.add(1)
    loop = asyncio.get_running_loop()
    assert isinstance(batch._timer, asyncio.TimerHandle)
    assert batch._timer.when() - loop.time() == pytest.approx(60, abs=1)
    batch.add(2)
    batch.flush()
    assert handled.slices == [[1, 2]]
    assert batch._timer is None


async def test_flush_leaves_nothing_to_be_handled_again() -> None:
    handled = Handled()
    batch = Batch(handled, delay_seconds=0, pause_seconds=0)
    batch.add(1)
    batch.flush()
    batch.flush()
    for _ in range(5):
        await asyncio.sleep(0)
    assert handled.slices == [[1]]


def test_without_an_event_loop_an_item_is_handled_at_once() -> None:
    handled = Handled()
    batch = Batch(handled)
    batch.add(1)
    batch.add(2)
    assert handled.slices == [[1], [2]]


async def test_a_slice_that_fails_does_not_end_the_batch() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    handled = Handled(bad=0)
    batch = Batch(handled, delay_seconds=0, pause_seconds=0)
    for number in range(SLICE * 2):
        batch.add(number)
    await settle(handled, SLICE * 2)
    batch.add(SLICE * 2)
    await settle(handled, SLICE * 2 + 1)
    assert handled.items == list(range(SLICE * 2 + 1))
    assert [str(error) for error in told] == ["a bad item"]


async def test_what_is_added_while_handling_is_handled_too() -> None:
    handled = Handled()

    def handle(items: list[int]) -> None:
        handled(items)
        if items[0] < 3:
            batch.add(items[0] + 1)

    batch = Batch(handle, delay_seconds=0)
    batch.add(1)
    await settle(handled, 3)
    assert handled.items == [1, 2, 3]
