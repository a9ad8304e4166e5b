"""What a replica remembers of one caller: how many calls it may let through, or refuse, without asking."""

from __future__ import annotations

import asyncio
import math

from secure_rpc.quota import Quota

SHARE = 10  # of the burst, one in so many may be reserved, by all replicas together
WINDOW_SECONDS = 1.0  # a caller's rate is that of this time; so many calls are reserved for it


class Account:
    """One caller's.

    Args:
        name: of its key in the store.
        holder: of its reservation.
        quota: of the caller.
    """

    __slots__ = (
        "asking",
        "burst",
        "called_at",
        "calls",
        "holder",
        "lasts_until",
        "left",
        "left_at",
        "name",
        "pending",
        "quota",
        "rate",
        "refused_until",
        "share",
        "since",
        "stock",
        "target",
        "used",
    )

    def __init__(self, name: str, holder: str, quota: Quota) -> None:
        self.name = name
        self.called_at = 0.0
        self.since = 0.0  # when the window began in which calls are counted
        self.calls = 0
        self.rate = 0.0  # calls in a second of the window before
        self.set_quota(quota)
        self.begin(holder)

    def set_quota(self, quota: Quota) -> None:
        """Go by a quota from now on."""
        self.quota = quota
        self.burst = quota.size
        self.share = self.burst // SHARE
        self.refused_until = 0.0
        self.left = self.burst  # as the store said
        self.left_at: float | None = None  # when it said so

    def begin(self, holder: str) -> None:
        """Forget what was reserved: it is not known any more whether the store has it so."""
        self.holder = holder
        self.stock = 0  # reserved, and not used
        self.used = 0  # reserved, used, and not reported
        self.lasts_until = 0.0
        self.target = 0  # what the stock is filled up to
        self.asking = False  # ahead of need
        self.pending: Need | None = None  # waits to be sent

    def count(self, now: float) -> None:
        """Note a call."""
        self.called_at = now
        if now - self.since >= WINDOW_SECONDS:
            self.rate = self.calls / (now - self.since)
            self.since, self.calls = now, 0
        self.calls += 1

    def wanted(self) -> int:
        """Return how many to reserve: about as many as the caller makes in a second."""
        rate = max(self.rate, self.calls / WINDOW_SECONDS)
        self.target = min(self.share, math.ceil(rate * WINDOW_SECONDS))
        return max(0, self.target - self.stock)


class Need:
    """Calls of one caller that wait for the same answer; none where calls are reserved, or given back."""

    __slots__ = ("account", "ahead", "back", "expects", "holder", "quota", "timer", "waiters")

    def __init__(self, account: Account, ahead: int = 0, back: int = 0) -> None:
        self.account = account
        self.holder = account.holder
        self.quota = account.quota
        self.ahead = ahead
        self.back = back
        self.expects = False  # that the store knows of a reservation
        self.waiters: list[asyncio.Future[float]] = []
        self.timer: asyncio.TimerHandle | None = None  # ends their patience
