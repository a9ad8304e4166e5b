"""Who asks most often is known for a moment, of so many peers and no more."""

from __future__ import annotations

from secure_rpc.shedding.asking import MAX_PEERS, Asking


def test_those_who_ask_at_least_half_as_often_as_the_one_who_asks_most_are_among_them() -> None:
    asking = Asking()
    for name, times in (("flood", 20), ("half", 10), ("less", 9)):
        for _ in range(times):
            asking.note(name)
    assert [asking.is_among_most(name) for name in ("flood", "half", "less", "nobody")] == [True, True, False, False]


def test_a_peer_alone_is_among_those_who_ask_most() -> None:
    asking = Asking()
    asking.note("a")
    assert (len(asking), asking.is_among_most("a")) == (1, True)


def test_what_was_asked_fades_until_nobody_is_remembered() -> None:
    asking = Asking()
    for _ in range(1000):
        asking.note("flood")
    for _ in range(20):
        asking.fade()
    for _ in range(100):
        asking.note("another")
    assert asking.is_among_most("another")
    times = 0
    while len(asking):
        asking.fade()
        times += 1
    assert times < 100  # 10 s
    asking.note("a")
    assert asking.is_among_most("a")


def test_so_many_peers_are_remembered_and_those_on_top_do_not_count_as_asking_much() -> None:
    asking = Asking()
    for number in range(MAX_PEERS + 100):
        asking.note(f"peer {number}")
    assert len(asking) == MAX_PEERS
    assert not asking.is_among_most(f"peer {MAX_PEERS}")
    asking.note("peer 0")
    assert asking._asked["peer 0"] == 2.0
