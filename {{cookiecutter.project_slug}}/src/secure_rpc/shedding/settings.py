"""The settings of the load limit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from secure_rpc.configuration import Section

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class Load(Section):
    """What the server takes on at once, before it looks at who calls."""

    max_concurrent_calls: Positive = 1000
    max_concurrent_calls_per_peer: Positive = 500  # by IP address; of IPv6, by /64
    adaptive: bool = True  # False: the limit stays where it is, however long work waits
    min_concurrent_calls: Positive = 20  # the limit is lowered no further; no more than max_concurrent_calls
    target_lag_seconds: Seconds = 0.01  # that work may wait in the event loop; longer, and the limit is lowered
    fair_lag_seconds: Seconds = 0.0005  # longer, and those who ask most often are held to less, while others ask, too
    probe_interval_seconds: Seconds = 0.02  # between two measurements of that; the fifth decides
    fair_share_above: float = Field(default=0.5, gt=0, le=1)  # of the limit: from there on each peer has its share
    refusal_delay_seconds: float = Field(default=1.0, ge=0, le=10)  # for calls of a peer that has more than its share
    delayed_refusals_per_second_per_peer: Annotated[float, Field(gt=0)] = 25.0  # more: they are delayed longer
    max_delayed_refusals: int = Field(default=1500, ge=0)  # at once; others are answered without delay
    max_delayed_refusals_per_peer: int = Field(default=1000, ge=0)
    retry_after_seconds: Seconds = 1.0  # what refused callers are told, give or take a half

    @model_validator(mode="after")
    def _shares_make_sense(self) -> Load:
        if self.max_delayed_refusals_per_peer > self.max_delayed_refusals:
            raise ValueError('"max_delayed_refusals_per_peer" is more than "max_delayed_refusals"; lower it')
        return self
