"""Once it gets crowded, who has more than a fair share is refused first; what is counted is always given back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from secure_rpc.call import Call, Metadata, Method, Patience
from secure_rpc.shedding.admission import HEALTH_CALLS, Admission, Refusal
from secure_rpc.shedding.limit import MOST, SAMPLES, AdaptiveLimit
from secure_rpc.shedding.settings import Load

Enter: TypeAlias = Callable[[str], tuple[Call, Refusal | None]]
NO_METADATA: Metadata = ()


def admission_of(**settings: Any) -> tuple[Admission, AdaptiveLimit]:
    """Return one whose two limits are the same."""
    load = Load(**{"max_concurrent_calls": 10, "max_concurrent_calls_per_peer": 10, **settings})
    limit = AdaptiveLimit(load.min_concurrent_calls, load.max_concurrent_calls, load.target_lag_seconds)
    return Admission(load, limit, limit), limit


def enter(admission: Admission, name: str, times: int = 1) -> tuple[list[Call], list[Refusal]]:
    let_in, refused = [], []
    for _ in range(times):
        call = Call(Method("/a.B/C", Patience(1)), "/a.B/C", NO_METADATA)
        refusal = admission.enter(call, name)
        if refusal is None:
            let_in.append(call)
        else:
            refused.append(refusal)
    return let_in, refused


def test_a_peer_that_floods_gets_no_more_than_the_part_in_which_nobody_is_held_to_a_share() -> None:
    admission, _ = admission_of(fair_share_above=0.6)
    let_in, refused = enter(admission, "flood", 100)
    assert len(let_in) == 6
    assert {(refusal.reason, refusal.is_over_share) for refusal in refused} == {("LOAD_SHED", True)}
    others, refused = enter(admission, "good", 1)
    assert (len(others), refused) == (1, [])


def test_a_peer_within_its_share_gets_in_while_one_beyond_its_own_does_not() -> None:
    admission, _ = admission_of(fair_share_above=0.6)
    assert len(enter(admission, "flood", 10)[0]) == 6
    assert len(enter(admission, "another", 10)[0]) == 4  # those who ask as often share
    [refusal] = enter(admission, "third")[1]
    assert refusal == Refusal("LOAD_LIMIT", "the server is at its limit of calls", is_over_share=False)
    [refusal] = enter(admission, "flood")[1]
    assert (refusal.reason, refusal.is_over_share) == ("LOAD_LIMIT", True)


def test_who_asks_seldom_may_have_many_calls_at_once_and_who_asks_most_is_held_to_less() -> None:
    load = Load(max_concurrent_calls=1000, fair_share_above=0.5)
    limit, fair_limit = AdaptiveLimit(20, 1000, 0.01), AdaptiveLimit(4, 1000, 0.0005, MOST)
    admission = Admission(load, limit, fair_limit)
    flood, _ = enter(admission, "flood", 100)
    for _ in range(10 * SAMPLES):
        fair_limit.saw(1.0, 100)
    assert not enter(admission, "flood")[1]  # alone, it is in nobody's way
    assert not enter(admission, "good", 30)[1]
    [refusal] = enter(admission, "flood")[1]
    assert (refusal.reason, refusal.is_over_share) == ("LOAD_SHED", True)
    for call in flood[2:]:
        admission.leave(call, "flood")
    assert enter(admission, "flood", 5)[1]


def test_with_shares_from_the_limit_on_one_peer_can_have_all_of_it() -> None:
    admission, _ = admission_of(fair_share_above=1.0, max_concurrent_calls_per_peer=20)
    let_in, refused = enter(admission, "flood", 11)
    assert (len(let_in), refused[0].reason) == (10, "LOAD_LIMIT")


def test_one_address_has_a_limit_of_its_own() -> None:
    admission, _ = admission_of(max_concurrent_calls_per_peer=2)
    let_in, [refusal] = enter(admission, "a", 3)
    assert (len(let_in), refusal.reason, refusal.is_over_share) == (2, "PEER_LIMIT", True)


def lower(admission: Admission, limit: AdaptiveLimit) -> None:
    for _ in range(10 * SAMPLES):
        limit.saw(1.0, admission.working)


def test_past_a_limit_that_was_lowered_only_peers_within_their_share_get_in() -> None:
    admission, limit = admission_of(max_concurrent_calls=100, max_concurrent_calls_per_peer=100, min_concurrent_calls=4)
    enter(admission, "flood", 20)
    lower(admission, limit)
    assert limit.calls == 4
    assert not enter(admission, "good", 9)[1]
    assert enter(admission, "flood")[1][0].is_over_share
    let_in, refused = enter(admission, "good", 20)  # after the first of these it asks half as often as the flood
    assert (len(let_in), {refusal.reason for refusal in refused}) == (1, {"LOAD_SHED"})


def test_more_peers_than_may_have_a_call_each_are_refused_and_not_for_their_share() -> None:
    admission, limit = admission_of(max_concurrent_calls=100, max_concurrent_calls_per_peer=100, min_concurrent_calls=4)
    lower(admission, limit)
    for number in range(4):
        assert not enter(admission, f"peer {number}")[1]
    [refusal] = enter(admission, "one more")[1]
    assert refusal == Refusal("LOAD_SHED", "the server has more to do than it can", is_over_share=False)


def test_calls_that_have_lasted_keep_nobody_out_but_at_the_ceiling() -> None:
    admission, limit = admission_of(
        max_concurrent_calls=40, max_concurrent_calls_per_peer=40, min_concurrent_calls=4, probe_interval_seconds=0.5
    )
    lasting, _ = enter(admission, "a", 19)
    lower(admission, limit)
    assert enter(admission, "a")[1][0].reason == "LOAD_SHED"
    admission.pass_turn()
    assert enter(admission, "a")[1]
    admission.pass_turn()
    assert (admission.working, admission.calls) == (0, 19)
    fresh, refused = enter(admission, "b", 2)
    assert not refused
    for call in (*lasting, *fresh):
        admission.leave(call, "a" if call in lasting else "b")
    assert (admission.working, admission.calls, len(admission), admission._active) == (0, 0, 0, 0)
    for _ in range(100 * SAMPLES):
        limit.saw(0.0, 0)
    enter(admission, "a", 20)
    admission.pass_turn()
    admission.pass_turn()
    assert enter(admission, "a")[1][0].is_over_share  # of the ceiling, where no limit of those that work is near
    assert not enter(admission, "b")[1]


def test_a_peers_first_health_checks_are_let_in_beside_all_limits() -> None:
    admission, _ = admission_of(max_concurrent_calls=1)
    enter(admission, "a", 1)
    assert all(admission.enter_health("a") for _ in range(HEALTH_CALLS))
    assert not admission.enter_health("a")
    assert admission.enter_health("b")
    admission.leave_health("a")
    assert admission.enter_health("a")
    admission.leave_health("b")
    assert (admission.calls, len(admission)) == (1, 1)


@pytest.mark.parametrize("seed", range(20))
def test_however_calls_come_and_go_the_limits_hold_and_all_is_given_back(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    admission, limit = admission_of(
        max_concurrent_calls=50, max_concurrent_calls_per_peer=30, min_concurrent_calls=5, probe_interval_seconds=0.3
    )
    under_way: list[tuple[Call, str]] = []
    for _ in range(3000):
        what = chance.random()
        if what < 0.5:
            name = chance.choice("aaaaabcd")
            let_in, _ = enter(admission, name)
            under_way += [(call, name) for call in let_in]
        elif what < 0.95 and under_way:
            admission.leave(*under_way.pop(chance.randrange(len(under_way))))
        else:
            limit.saw(chance.choice([0.0, 0.1]), admission.working)
            admission.pass_turn()
        counted = Counter(name for _, name in under_way)
        assert admission.calls == len(under_way) <= 50
        assert admission.working <= admission.calls
        assert {name: peer.calls for name, peer in admission._peers.items()} == counted
        assert admission._active == sum(peer.working > 0 for peer in admission._peers.values())
    while under_way:
        admission.leave(*under_way.pop())
    assert (admission.working, admission.calls, len(admission), admission._active) == (0, 0, 0, 0)
