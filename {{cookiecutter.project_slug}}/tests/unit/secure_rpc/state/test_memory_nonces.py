"""Nonces of one process: each counts once in its lifetime, and there is an end to what is remembered."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.memory import MemoryNonces

LIFETIME = 600.0


@dataclass
class Clock:
    now: float = 12_345.678

    def __call__(self) -> float:
        return self.now


async def test_a_nonce_counts_once() -> None:
    nonces = MemoryNonces(clock=Clock())
    assert await nonces.add("one", LIFETIME)
    assert not await nonces.add("one", LIFETIME)
    assert await nonces.add("two", LIFETIME)


async def test_a_nonce_is_known_until_its_lifetime_ends_and_not_after() -> None:
    clock = Clock()
    nonces = MemoryNonces(clock=clock)
    await nonces.add("one", LIFETIME)
    clock.now += LIFETIME - 0.001
    assert not await nonces.add("one", LIFETIME)
    clock.now += 0.001
    assert await nonces.add("one", LIFETIME)


async def test_a_nonce_whose_lifetime_ended_is_new_also_before_it_was_swept_out() -> None:
    clock = Clock()
    nonces = MemoryNonces(clock=clock)
    for number in range(10):
        await nonces.add(str(number), LIFETIME)
    clock.now += LIFETIME
    assert await nonces.add("9", LIFETIME)
    assert not await nonces.add("9", LIFETIME)


async def test_a_replay_does_not_lengthen_the_lifetime() -> None:
    clock = Clock()
    nonces = MemoryNonces(clock=clock)
    await nonces.add("one", LIFETIME)
    clock.now += LIFETIME / 2
    assert not await nonces.add("one", LIFETIME)
    clock.now += LIFETIME / 2
    assert await nonces.add("one", LIFETIME)


async def test_a_full_store_refuses_new_nonces_and_still_knows_the_old_ones() -> None:
    nonces = MemoryNonces(size=2, clock=Clock())
    await nonces.add("one", LIFETIME)
    await nonces.add("two", LIFETIME)
    with pytest.raises(StoreUnavailable):
        await nonces.add("three", LIFETIME)
    assert not await nonces.add("one", LIFETIME)
    assert not await nonces.add("two", LIFETIME)


async def test_a_full_store_takes_nonces_again_as_soon_as_old_ones_end() -> None:
    clock = Clock()
    nonces = MemoryNonces(size=2, clock=clock)
    await nonces.add("one", LIFETIME)
    clock.now += 1
    await nonces.add("two", LIFETIME)
    clock.now += LIFETIME - 1
    assert await nonces.add("three", LIFETIME)
    with pytest.raises(StoreUnavailable):
        await nonces.add("four", LIFETIME)


async def test_200_000_nonces_take_no_more_room_than_told() -> None:
    clock = Clock()
    nonces, largest = MemoryNonces(size=1000, clock=clock), 0
    for number in range(200_000):
        clock.now += 1
        assert await nonces.add(str(number), LIFETIME)
        largest = max(largest, len(nonces))
    assert largest <= LIFETIME + 1


async def test_a_flood_of_200_000_nonces_is_refused_past_the_size() -> None:
    nonces, refused = MemoryNonces(size=1000, clock=Clock()), 0
    for number in range(200_000):
        try:
            await nonces.add(str(number), LIFETIME)
        except StoreUnavailable:
            refused += 1
    assert (len(nonces), refused) == (1000, 199_000)


@settings(deadline=None, max_examples=200)
@given(steps=st.lists(st.tuples(st.integers(0, 200), st.sampled_from("abcdef")), max_size=60), size=st.integers(1, 6))
async def test_each_nonce_is_answered_as_the_model_says(steps: list[tuple[int, str]], size: int) -> None:
    clock, ends = Clock(now=0.0), dict.fromkeys("abcdef", 0.0)
    nonces = MemoryNonces(size=size, clock=clock)
    for step, nonce in steps:
        clock.now += step
        known, alive = ends[nonce] > clock.now, sum(end > clock.now for end in ends.values())
        try:
            fresh = await nonces.add(nonce, LIFETIME)
        except StoreUnavailable:  # also while ended ones are still being swept out, two with each call
            assert not known
            assert len(nonces) == size >= alive
        else:
            assert fresh is not known
            if fresh:
                ends[nonce] = clock.now + LIFETIME
