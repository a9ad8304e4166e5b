"""How many calls a caller may make: what settings and policy say, and stages and stores keep."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from pydantic import Field

from secure_rpc.configuration import Section


class Quota(Section):
    """How many calls a principal may make."""

    calls: int = Field(gt=0)  # in each period
    period_seconds: float = Field(default=1.0, gt=0)
    burst: int = Field(default=0, ge=0)  # calls that may come at once; 0: as many as in a period

    @cached_property
    def interval_seconds(self) -> float:
        """Return the time that one call costs."""
        return self.period_seconds / self.calls

    @cached_property
    def tolerance_seconds(self) -> float:
        """Return how far ahead of its time a call may be."""
        return self.interval_seconds * ((self.burst or self.calls) - 1)

    def __str__(self) -> str:
        """Return it as people say it."""
        burst = f", {self.burst} at once" if self.burst else ""
        return f"{self.calls} calls in {self.period_seconds:g} s{burst}"

    @cached_property
    def size(self) -> int:
        """Return how many calls may come at once."""
        return self.burst or self.calls


def most_generous(quotas: Iterable[Quota]) -> Quota:
    """Return the quota with the most calls over time; of several such, the one with the largest burst."""
    return max(quotas, key=lambda quota: (quota.calls / quota.period_seconds, quota.size))


class QuotaScope(Enum):
    """Who counts together."""

    SHARED = "shared"  # all: in `state` where there is one, else the one process that there is
    WORKER = "worker"  # each process by itself: a caller has its quota as many times as there are


class StoreFailure(Enum):
    """What becomes of calls while the store of the quotas is away."""

    OPEN = "open"  # each process goes on by itself: a caller has its quota at each, and none without limit
    CLOSED = "closed"  # they are refused, as UNAVAILABLE


class QuotaHeaders(Enum):
    """Which calls are told what is left of their quota."""

    REFUSED = "refused"
    ALL = "all"


class QuotaKey(NamedTuple):
    """Whose calls, of which kind."""

    principal: str
    tenant: str
    quota_class: str
