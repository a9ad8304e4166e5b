"""Refusals that are answered late: who asks again at once, whatever is answered, asks less often then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable


class Delays:
    """Hold calls that are refused for a while; only so many, for each takes memory.

    The longer, the more of a peer's are held: each refusal costs, and makes room for the next call of who floods, so
    what bounds their cost is how many there are a second, however many calls it takes at once.

    Args:
        seconds: how long each at least, give or take a half; 0 for not at all.
        most: at once.
        most_per_peer: at once, of one peer.
        per_second_per_peer: refusals that one peer is answered a second, about; more are held longer.
        chance: gives a random number below 1.
        pause: lets that many seconds pass.
    """

    def __init__(
        self,
        seconds: float,
        most: int,
        most_per_peer: int,
        *,
        per_second_per_peer: float = float("inf"),
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_per_peer = most_per_peer
        self._per_second_per_peer = per_second_per_peer
        self._chance = chance
        self._pause = pause
        self._of_peer: dict[str, int] = {}
        self.held = 0

    async def hold(self, name: str) -> None:
        """Return after the delay, at once where too many are held.

        Args:
            name: of the peer.
        """
        of_peer = self._of_peer.get(name, 0)
        if not self._seconds or self.held >= self._most or of_peer >= self._most_per_peer:
            return
        self.held += 1
        self._of_peer[name] = of_peer + 1
        try:
            await self._pause(self.seconds_of(of_peer + 1))
        finally:
            self.held -= 1
            self._of_peer[name] -= 1
            if not self._of_peer[name]:
                del self._of_peer[name]

    def seconds_of(self, held: int) -> float:
        """Return how long the next is held of a peer that has so many, itself included."""
        return max(self._seconds, held / self._per_second_per_peer) * (0.5 + self._chance())

    @property
    def peers(self) -> int:
        """Return how many peers have calls that are held."""
        return len(self._of_peer)
