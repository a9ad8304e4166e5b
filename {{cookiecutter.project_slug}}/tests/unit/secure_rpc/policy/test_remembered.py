"""What the policy remembers of those who asked: bounded, and let go of without a stop."""

from __future__ import annotations

import asyncio

import pytest

from secure_rpc.policy.remembered import AT_ONCE, Remembered


class Finder:
    """Finds what is asked for, and keeps count."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def __call__(self, key: int) -> str:
        self.found.append(key)
        return str(key)


@pytest.fixture
def find() -> Finder:
    return Finder()


def test_a_value_is_found_once(find: Finder) -> None:
    remembered = Remembered(2, find)
    assert [remembered[key] for key in (1, 2, 1, 2)] == ["1", "2", "1", "2"]
    assert find.found == [1, 2]


def test_no_more_are_kept_than_said_and_the_first_goes_first(find: Finder) -> None:
    remembered = Remembered(2, find)
    for key in (1, 2, 1, 3):
        assert remembered[key] == str(key)
    assert list(remembered) == [2, 3]
    assert Remembered(0, find)[1] == "1"


def test_what_is_found_with_an_error_is_not_kept() -> None:
    def fail(key: int) -> int:
        raise LookupError(key)

    remembered = Remembered(2, fail)
    with pytest.raises(LookupError):
        remembered[1]
    assert not remembered


async def test_it_is_renewed_at_once_and_the_old_one_let_go_of_in_slices(find: Finder) -> None:
    old = Remembered(10 * AT_ONCE, find)
    for key in range(3 * AT_ONCE):
        old[key]
    new = old.renewed()
    assert not new
    left = [len(old)]
    while left[-1]:  # ends: each turn of the loop takes some
        await asyncio.sleep(0)
        left.append(len(old))
        assert left[-1] < left[-2]
    assert left == [2 * AT_ONCE, AT_ONCE, 0]
    assert new[7] == "7"
    assert find.found[-1] == 7
    assert len(find.found) == 3 * AT_ONCE + 1


def test_without_a_loop_it_is_renewed_at_once(find: Finder) -> None:
    old = Remembered(2, find)
    old[1]
    assert not old.renewed()
    assert not old
