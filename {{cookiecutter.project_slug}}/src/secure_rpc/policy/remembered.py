"""What was found for those who asked last: bounded, and forgotten a little at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

AT_ONCE = 100  # forgotten between two calls: 10,000 at once would make them all wait for 40 ms


class Remembered(OrderedDict[K, V]):
    """Find a value once for each key: `remembered[key]`.

    What was found first is forgotten first, however often it was asked for since: to keep count of that would cost each
    look more than it costs to find, for one key in ten thousand, the value anew.

    Args:
        size: how many values are kept.
        find: returns the value of a key.
    """

    def __init__(self, size: int, find: Callable[[K], V]) -> None:
        super().__init__()
        self._size = size
        self._find = find

    def __missing__(self, key: K) -> V:
        """Find the value of a key."""
        found = self._find(key)
        if self._size:
            if len(self) >= self._size:
                self.popitem(last=False)
            self[key] = found
        return found

    def renewed(self) -> Remembered[K, V]:
        """Return one that has found nothing so far, in place of this one, whose values are let go of in slices."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody waits
            self.clear()
        else:
            self._forget_some(loop)
        return Remembered(self._size, self._find)

    def _forget_some(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(AT_ONCE, len(self))):
            self.popitem(last=False)
        if self:
            loop.call_soon(self._forget_some, loop)
