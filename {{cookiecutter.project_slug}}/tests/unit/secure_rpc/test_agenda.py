"""What is due is handed on, earliest first and some at a time; what is not due any more is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from secure_rpc.agenda import AT_ONCE, SPARE, Agenda

from support.clocks import Clock, until


class Diary:
    """An agenda, and what it has handed on."""

    def __init__(self, clock: Clock) -> None:
        self.batches: list[list[str]] = []
        self.agenda = Agenda[str](self._note, clock)

    def _note(self, due: Sequence[str]) -> None:
        self.batches.append(list(due))

    @property
    def due(self) -> list[str]:
        return [item for batch in self.batches for item in batch]


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def diary(clock: Clock) -> Diary:
    return Diary(clock)


async def test_each_is_handed_on_when_its_time_has_come_and_once(diary: Diary, clock: Clock) -> None:
    for name, at in (("c", 1003.0), ("a", 1001.0), ("b", 1002.0)):
        diary.agenda.put(name, at)
    for now, due in ((1000.9, []), (1001.0, ["a"]), (1005.0, ["a", "b", "c"]), (2000.0, ["a", "b", "c"])):
        clock.now = now
        diary.agenda.run()
        assert diary.due == due
    assert len(diary.agenda) == 0


async def test_the_time_of_an_item_can_be_changed_and_an_item_dropped(diary: Diary, clock: Clock) -> None:
    for name in ("later", "sooner", "never"):
        diary.agenda.put(name, 1010.0)
    diary.agenda.put("later", 1020.0)
    diary.agenda.put("sooner", 1005.0)
    diary.agenda.drop("never")
    diary.agenda.drop("unknown")
    for now, due in ((1005.0, ["sooner"]), (1010.0, ["sooner"]), (1020.0, ["sooner", "later"])):
        clock.now = now
        diary.agenda.run()
        assert diary.due == due


async def test_many_that_are_due_at_once_let_others_run_in_between(diary: Diary, clock: Clock) -> None:
    for number in range(3 * AT_ONCE):
        diary.agenda.put(str(number), 1001.0)
    clock.pass_(1)
    await until(lambda: len(diary.due) == 3 * AT_ONCE)
    assert [len(batch) for batch in diary.batches] == [AT_ONCE] * 3


async def test_the_timer_wakes_it_by_itself(diary: Diary, clock: Clock) -> None:
    diary.agenda.put("far", 5000.0)
    diary.agenda.put("near", 1000.01)
    clock.pass_(0.02)
    await until(lambda: diary.due == ["near"])
    assert len(diary.agenda) == 1


async def test_what_comes_and_goes_leaves_nothing_behind(diary: Diary) -> None:
    for number in range(50_000):
        diary.agenda.put(str(number), 9000.0)
        diary.agenda.drop(str(number))
        diary.agenda.put("one", 8000.0 + number)
    assert len(diary.agenda) == 1
    assert len(diary.agenda._heap) <= 2 + SPARE
    await asyncio.sleep(0)
    assert diary.due == []
