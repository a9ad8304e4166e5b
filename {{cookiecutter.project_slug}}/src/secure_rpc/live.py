"""The streams that are under way: they are looked at again when what let them begin changes, and from time to time."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable

from secure_rpc import errors
from secure_rpc.call import Call

CALLS_AT_ONCE = 100  # between two of these, other work gets its turn
SLICE_SECONDS = 0.1  # between two looks at some of the streams, where all are looked at in turn


class LiveStreams:
    """Know the streams of a server, and end those that may not go on.

    Args:
        on_cut: told of what a stream is ended with.
    """

    def __init__(self, on_cut: Callable[[errors.StatusError], None] = lambda _error: None) -> None:
        self._calls: OrderedDict[Call, None] = OrderedDict()  # the one looked at longest ago first
        self._on_cut = on_cut

    def add(self, call: Call) -> None:
        """Know a stream."""
        self._calls[call] = None

    def discard(self, call: Call) -> None:
        """Forget a stream."""
        self._calls.pop(call, None)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._calls)

    async def review(self) -> int:
        """Have each stream's stages look at it again; return how many were ended.

        A review that fails by itself ends its stream, too.
        """
        ended = 0
        for number, call in enumerate(tuple(self._calls), 1):
            ended += self.judge(call)
            if number % CALLS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return ended

    async def keep_reviewing(self, seconds: float) -> None:
        """Have each stream looked at about once in so many seconds, some at a time, until cancelled."""
        while True:
            await asyncio.sleep(min(SLICE_SECONDS, seconds))
            self.review_some(math.ceil(len(self._calls) * min(SLICE_SECONDS / seconds, 1.0)))

    def review_some(self, count: int) -> None:
        """Look again at those that were looked at longest ago."""
        for call in [call for call, _ in zip(self._calls, range(count), strict=False)]:
            self._calls.move_to_end(call)
            self.judge(call)

    def judge(self, call: Call) -> bool:
        """Have a stream's stages look at it again; return whether that has ended it."""
        try:
            for review in call.reviews:  # none once the call has ended
                review()
        except errors.StatusError as error:
            self.cut(call, error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the stream does not go on by it
            refusal = errors.Internal()
            refusal.__cause__ = error
            self.cut(call, refusal)
        else:
            return False
        return True

    def cut(self, call: Call, error: errors.StatusError) -> None:
        """End a stream, and tell of it."""
        if call.refusal is None:
            self._on_cut(error)
        call.cut(error)
