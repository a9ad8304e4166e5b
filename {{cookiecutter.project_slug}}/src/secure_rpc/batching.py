"""What calls leave behind, handled in batches off their path: a call pays for one append."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

SLICE = 32  # handled in one turn of the event loop, so that no call waits for a whole batch
PAUSE_SECONDS = 0.001  # between slices, for calls; one turn after the other would be a whole batch to them all the same


class Batch(Generic[T]):
    """Collect items and hand them on, in order, a little later.

    Args:
        handle: takes a slice of the items; what it raises ends the slice, not the batch.
        delay_seconds: how long an item may wait for others.
        pause_seconds: between two slices.
    """

    def __init__(
        self,
        handle: Callable[[list[T]], None],
        delay_seconds: float = 0.05,
        *,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._handle = handle
        self._delay_seconds = delay_seconds
        self._pause_seconds = pause_seconds
        self._items: list[T] = []
        self._timer: asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        """Return how many items are still to be handled, those of the slice that is being handled not included."""
        return len(self._items)

    def add(self, item: T) -> None:
        """Take an item; without an event loop it is handled at once."""
        self._items.append(item)
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.flush()
            else:
                self._timer = loop.call_later(self._delay_seconds, self._turn, loop)

    def flush(self) -> None:
        """Handle all that is waiting, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._items:
            self._take()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        try:
            self._take()
        finally:
            if self._items and self._timer is None:
                self._timer = loop.call_later(self._pause_seconds, self._turn, loop)

    def _take(self) -> None:
        items, self._items = self._items[:SLICE], self._items[SLICE:]
        self._handle(items)
