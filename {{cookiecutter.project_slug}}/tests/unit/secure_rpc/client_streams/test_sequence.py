"""What a stream has lost shows in its numbers, and so does a server that has begun to count anew."""

from __future__ import annotations

import pytest

from secure_rpc.client_streams.renewal import Session
from secure_rpc.client_streams.sequence import Position, Sequence, SequenceGap, SequenceReset, position_of


def checked(after: int, *numbers: int, consecutive: bool = True) -> None:
    sequence = Sequence(position_of(after), consecutive=consecutive)
    for number in numbers:
        sequence.check(number)


@pytest.mark.parametrize(("after", "numbers"), [(0, (1, 2, 3)), (0, (7, 8)), (7, (8, 9)), (1, (2, 3, 2, 3, 4))])
def test_what_follows_and_what_comes_twice_is_as_it_should_be(after: int, numbers: tuple[int, ...]) -> None:
    checked(after, *numbers)


@pytest.mark.parametrize(("after", "numbers"), [(0, (1, 3)), (7, (9,)), (1, (2, 3, 2, 5))])
def test_a_number_that_is_left_out_is_missed_where_each_counts(after: int, numbers: tuple[int, ...]) -> None:
    with pytest.raises(SequenceGap) as caught:
        checked(after, *numbers)
    assert caught.value.sequence == numbers[-1] == caught.value.after + 2
    checked(after, *numbers, consecutive=False)


@pytest.mark.parametrize(("after", "number"), [(0, 0), (0, -1), (7, 7), (7, 1)])
@pytest.mark.parametrize("consecutive", [True, False])
def test_a_number_from_before_the_cursor_is_never_taken(after: int, number: int, *, consecutive: bool) -> None:
    with pytest.raises(SequenceReset):
        checked(after, number, consecutive=consecutive)


def test_a_number_is_its_own_cursor_unless_another_is_named() -> None:
    assert position_of(7) == Position(7, 7)
    assert position_of(Position(7, "seven")) == Position(7, "seven")


def test_what_a_server_announces_is_read_and_nonsense_is_nothing() -> None:
    session = Session([("session-id", "mine"), ("session-expires-at", "1000"), ("other", "x")])
    assert (session.id, session.expires_at_seconds, session.is_announced) == ("mine", 1000.0, True)
    for nonsense in ([], [("session-expires-at", "soon")]):
        session = Session(nonsense)
        assert (session.id, session.expires_at_seconds, session.is_announced) == ("", float("inf"), False)
