"""The streams that are under way: they are looked at again when what let them begin changes."""

from __future__ import annotations

import asyncio

from secure_rpc import errors
from secure_rpc.call import Call

CALLS_AT_ONCE = 100  # between two of these, other work gets its turn


class LiveStreams:
    """Know the streams of a server, and end those that may not go on."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self.add = self._calls.add
        self.discard = self._calls.discard

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._calls)

    async def review(self) -> int:
        """Have each stream's stages look at it again; return how many were ended.

        A review that fails by itself ends its stream, too.
        """
        ended = 0
        for number, call in enumerate(tuple(self._calls), 1):
            ended += self._review(call)
            if number % CALLS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return ended

    def _review(self, call: Call) -> bool:
        try:
            for review in call.reviews:  # none once the call has ended
                review()
        except errors.StatusError as error:
            call.cut(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the stream does not go on by it
            refusal = errors.Internal()
            refusal.__cause__ = error
            call.cut(refusal)
        else:
            return False
        return True
