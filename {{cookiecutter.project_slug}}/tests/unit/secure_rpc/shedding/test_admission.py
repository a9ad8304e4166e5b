"""Once it gets crowded, who has more than a fair share is refused first; what is counted is always given back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from secure_rpc.call import Call, Metadata, Method, Patience
from secure_rpc.shedding.admission import HEALTH_CALLS, Admission, Refusal
from secure_rpc.shedding.limit import SAMPLES, AdaptiveLimit
from secure_rpc.shedding.settings import Load

Enter: TypeAlias = Callable[[str], tuple[Call, Refusal | None]]
NO_METADATA: Metadata = ()


def admission_of(**settings: Any) -> tuple[Admission, AdaptiveLimit]:
    load = Load(**{"max_concurrent_calls": 10, "max_concurrent_calls_per_peer": 10, **settings})
    limit = AdaptiveLimit(load.min_concurrent_calls, load.max_concurrent_calls, load.target_lag_seconds)
    return Admission(load, limit), limit


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
    enter(admission, "flood", 6)
    assert len(enter(admission, "good", 10)[0]) == 3  # of three shares, one is for whoever comes next
    assert len(enter(admission, "another", 10)[0]) == 1
    [refusal] = enter(admission, "third")[1]
    assert refusal == Refusal("LOAD_LIMIT", "the server is at its limit of calls", is_over_share=False)
    [refusal] = enter(admission, "flood")[1]
    assert (refusal.reason, refusal.is_over_share) == ("LOAD_LIMIT", True)


def test_without_shares_the_limit_alone_holds() -> None:
    admission, _ = admission_of(fair_share_above=1.0, max_concurrent_calls_per_peer=20)
    let_in, refused = enter(admission, "flood", 11)
    assert (len(let_in), refused[0].reason) == (10, "LOAD_LIMIT")


def test_one_address_has_a_limit_of_its_own() -> None:
    admission, _ = admission_of(max_concurrent_calls_per_peer=2)
    let_in, [refusal] = enter(admission, "a", 3)
    assert (len(let_in), refusal.reason, refusal.is_over_share) == (2, "PEER_LIMIT", True)


def test_a_limit_that_was_lowered_refuses_and_says_so() -> None:
    admission, limit = admission_of(max_concurrent_calls=100, max_concurrent_calls_per_peer=100, min_concurrent_calls=4)
    enter(admission, "a", 20)
    for _ in range(10 * SAMPLES):
        limit.saw(1.0, admission.working)
    assert limit.calls == 4
    [refusal] = enter(admission, "b")[1]
    assert refusal == Refusal("LOAD_SHED", "the server has more to do than it can", is_over_share=False)
    assert enter(admission, "a")[1][0].is_over_share


def test_calls_that_have_lasted_keep_nobody_out_but_at_the_ceiling() -> None:
    admission, limit = admission_of(
        max_concurrent_calls=40, max_concurrent_calls_per_peer=40, min_concurrent_calls=4, probe_interval_seconds=0.5
    )
    lasting, _ = enter(admission, "a", 19)
    for _ in range(10 * SAMPLES):
        limit.saw(1.0, admission.working)
    assert enter(admission, "b")[1][0].reason == "LOAD_SHED"
    admission.pass_turn()
    assert enter(admission, "b")[1]
    admission.pass_turn()
    assert (admission.working, admission.calls) == (0, 19)
    fresh, refused = enter(admission, "b")
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
