"""How many calls a caller may make: what settings and policy say, and stages and stores keep."""

from __future__ import annotations

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


class QuotaKey(NamedTuple):
    """Whose calls, of which kind."""

    principal: str
    tenant: str
    quota_class: str
