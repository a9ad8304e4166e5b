"""A call that is not answered as it should be is a problem of the drill, whichever way it differs."""

from __future__ import annotations

import pytest

from secure_rpc.drills.federation import Line, outcome

RIGHT = Line("partners", "guest -> here", "served", "served")


def test_a_story_in_which_all_is_as_it_should_be_has_no_problem() -> None:
    told = outcome([RIGHT, Line("forgeries", "forger -> here", "no connection", "no connection")])
    assert told.problems == []
    assert told.rows == [("partners", "1", "1", "0"), ("forgeries", "1", "1", "0")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("served", "no connection"),
        ("no connection", "served"),
        ("UNAUTHENTICATED TOKEN_EXPIRED", "UNAUTHENTICATED TOKEN_INVALID"),
        ("UNAVAILABLE TOKEN_KEYS_UNAVAILABLE", "no connection"),
    ],
)
def test_another_answer_is_a_problem(answer: str, expected: str) -> None:
    told = outcome([RIGHT, Line("forgeries", "forger -> here", answer, expected)])
    assert told.problems == [f"forgeries: forger -> here: {answer}, not {expected}"]
    assert told.rows[1] == ("forgeries", "1", "0", "1")
    assert [each["right"] for each in told.data["calls"]] == [True, False]
