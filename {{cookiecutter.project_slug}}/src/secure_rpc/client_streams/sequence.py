"""The order of a stream's messages, by the numbers that its server gives them: what is lost or doubled shows in it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Position(NamedTuple):
    """Where a message stands in a stream."""

    sequence: int  # greater than that of the message before; 0 is before all of them
    cursor: Any  # what the server is asked with to go on after it


START = Position(0, 0)


def position_of(said: int | Position) -> Position:
    """Return a position; where the number is the cursor, that alone will do."""
    return said if isinstance(said, Position) else Position(said, said)


class SequenceError(Exception):
    """A stream can not be gone on with: its server does not keep to the sequence.

    Args:
        after: the number that came before.
        sequence: the number that came then.
        text: what is wrong with it.
    """

    def __init__(self, after: int, sequence: int, text: str) -> None:
        super().__init__(f"{sequence} comes after {after}: {text}")
        self.after = after
        self.sequence = sequence


class SequenceGap(SequenceError):
    """Messages are missing: those between the two numbers."""


class SequenceReset(SequenceError):
    """The server began before the cursor that it was asked with: it does not know it, or has begun to count anew."""


class Sequence:
    """Check what one call brings, from the position on that it was opened with.

    Args:
        after: that position.
        consecutive: whether each number is one more than the last.
    """

    def __init__(self, after: Position, *, consecutive: bool) -> None:
        self._after = self._last = after.sequence
        self._consecutive = consecutive

    def check(self, sequence: int) -> None:
        """Take notice of the next number; one that came before is no harm, who takes the messages drops it.

        Raises:
            SequenceGap: numbers are missing; before the first, there is no telling.
            SequenceReset: the number should not have come.
        """
        if sequence <= self._after:
            raise SequenceReset(self._after, sequence, "the server did not begin where it was asked to")
        if self._consecutive and self._last and sequence > self._last + 1:
            raise SequenceGap(self._last, sequence, f"{sequence - self._last - 1} messages are missing")
        self._last = max(self._last, sequence)
