"""Time that stands still until a test moves it, and waiting for what another thread does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Tells the time that it is set to; at first, the real one."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


async def until(condition: Callable[[], object], within_seconds: float = 5) -> None:
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110  # it happens in another thread, or inside of what is tested
            await asyncio.sleep(0.002)
