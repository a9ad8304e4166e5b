"""A stream brings as many messages as it may, as fast as it may."""

from __future__ import annotations

import pytest

from secure_rpc import errors
from secure_rpc.stages.stream_limits import StreamLimits

from support.clocks import Clock


def test_a_burst_may_come_at_once_and_then_one_after_the_other() -> None:
    clock = Clock(0.0)
    check = StreamLimits(10, 3, clock=clock).check()
    for _ in range(3):
        check(None)
    with pytest.raises(errors.ResourceExhausted) as caught:
        check(None)
    assert caught.value.reason == "STREAM_RATE"
    assert caught.value.details[0].retry_delay.ToTimedelta().total_seconds() == pytest.approx(0.1)  # type: ignore[attr-defined]
    for _ in range(1000):
        clock.pass_(0.1)
        check(None)
    with pytest.raises(errors.ResourceExhausted):
        check(None)


def test_without_a_burst_a_seconds_messages_may_come_at_once_and_streams_do_not_share() -> None:
    clock = Clock(0.0)
    limits = StreamLimits(5, clock=clock)
    for check in (limits.check(), limits.check()):
        for _ in range(5):
            check(None)
        with pytest.raises(errors.ResourceExhausted):
            check(None)


def test_a_stream_has_an_end_of_its_messages() -> None:
    check = StreamLimits(messages=2).check()
    check(None)
    check(None)
    with pytest.raises(errors.ResourceExhausted) as caught:
        check(None)
    assert caught.value.reason == "STREAM_MESSAGES"


def test_there_is_nothing_to_do_where_there_is_no_limit() -> None:
    assert not StreamLimits().any
    assert StreamLimits(0.5).any
    assert StreamLimits(messages=1).any
