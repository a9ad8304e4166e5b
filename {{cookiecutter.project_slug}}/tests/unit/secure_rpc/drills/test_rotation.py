"""A drill is passed when no call has failed, and no stream has ended otherwise than documented."""

from __future__ import annotations

import pytest

from secure_rpc.drills import rotation
from secure_rpc.drills.traffic import Tally


def good() -> Tally:
    return Tally("CA: add", latencies_seconds=[0.001 * number for number in range(1, 101)], streams_before=2)


def test_steps_that_nobody_noticed_are_passed() -> None:
    outcome = rotation.outcome([good()])
    assert outcome.problems == []
    assert outcome.rows == [("CA: add", "100", "0", "50.5", "99.0", "2", "0", "-")]


def test_a_call_that_failed_is_told_with_its_step() -> None:
    tally = good()
    tally.failed["UNAVAILABLE gone"] += 1
    assert rotation.outcome([good(), tally]).problems == ["CA: add: 1 calls ended UNAVAILABLE gone"]


def test_a_stream_that_ended_otherwise_is_told() -> None:
    tally = good()
    tally.problems.append("a stream is gone")
    assert rotation.outcome([tally]).problems == ["a stream is gone"]


@pytest.mark.parametrize("calls", [[], [0.5]])
def test_a_step_without_calls_shows_nothing(calls: list[float]) -> None:
    outcome = rotation.outcome([Tally("roll", latencies_seconds=calls)])
    assert outcome.problems == ([] if calls else ["roll: no call was made"])
