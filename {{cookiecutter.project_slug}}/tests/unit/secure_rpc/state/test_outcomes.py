"""What is known of an idempotency key, step by step: as a model says it, in memory, in a file and in a shared store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.connection import State
from secure_rpc.state.local_file import IN_MEMORY, LocalFile
from secure_rpc.state.local_outcomes import LocalOutcomes
from secure_rpc.state.outcomes import Attempt, Begun, OutcomeStore, Standing
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_outcomes import RedisOutcomes

from support.clocks import Clock
from support.stores import real_store

START = 1_780_000_000.0
LEASE, LIFETIME = 10.0, 100.0


def attempt(key: int = 0, request: int = 0, owner: int = 0) -> Attempt:
    return Attempt(b"key%d" % key, b"request%d" % request, f"owner{owner}")


@dataclass
class Kept:
    """What the model knows of a key."""

    request: bytes
    owner: str
    lease_ends: float
    ends: float
    standing: Standing = Standing.RUNNING
    outcome: bytes = b""


@dataclass
class Model:
    """How it should be."""

    kept: dict[bytes, Kept] = field(default_factory=dict)

    def begin(self, made: Attempt, now: float) -> Begun:
        known = self.kept.get(made.key)
        if known is None or known.ends <= now:
            self.kept[made.key] = Kept(made.digest, made.owner, now + LEASE, now + LIFETIME)
            return Begun(Standing.NEW)
        if known.request != made.digest:
            return Begun(Standing.ANOTHER)
        if known.standing is Standing.RUNNING and known.lease_ends <= now:
            return Begun(Standing.UNKNOWN)
        return Begun(known.standing, known.outcome)

    def end(self, made: Attempt, standing: Standing, outcome: bytes) -> None:
        known = self.kept.get(made.key)
        if known is not None and known.owner == made.owner:
            known.standing, known.outcome = standing, outcome

    def release(self, made: Attempt) -> None:
        known = self.kept.get(made.key)
        if known is not None and known.owner == made.owner:
            del self.kept[made.key]


ATTEMPTS = st.builds(attempt, st.integers(0, 2), st.integers(0, 1), st.integers(0, 2))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), ATTEMPTS),
        st.tuples(st.just("end"), ATTEMPTS, st.sampled_from([Standing.DONE, Standing.KEPT_NOT, Standing.UNKNOWN])),
        st.tuples(st.just("release"), ATTEMPTS),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 9.0, 60.0])),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_it_is_as_the_model_says(steps: list[tuple[object, ...]]) -> None:
    asyncio.run(follow(steps))


async def follow(steps: list[tuple[object, ...]]) -> None:
    clock, model = Clock(START), Model()
    file = LocalFile(IN_MEMORY, clock=clock)
    store = LocalOutcomes(file, 100)
    for step in steps:
        match step:
            case ("begin", Attempt() as made):
                assert await store.begin(made, LEASE, LIFETIME) == model.begin(made, clock.now), steps
            case ("end", Attempt() as made, Standing() as standing):
                outcome = b"done" if standing is Standing.DONE else b""
                await store.end(made, standing, outcome)
                model.end(made, standing, outcome)
            case ("release", Attempt() as made):
                await store.release(made)
                model.release(made)
            case ("wait", float() as seconds):
                clock.now += seconds
    await file.close()


@pytest.fixture(params=["memory", "file", "redis"])
async def outcomes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OutcomeStore]:
    if request.param == "redis":
        async with real_store(tmp_path / "store") as server:
            store = Store(State(redis_url=server.url, timeout_seconds=2), "orders")
            yield RedisOutcomes(store)
            await store.close()
        return
    file = LocalFile(IN_MEMORY if request.param == "memory" else tmp_path / "calls.db")
    yield LocalOutcomes(file, 100)
    await file.close()


async def test_a_call_is_begun_once_and_known_from_then_on(outcomes: OutcomeStore) -> None:
    mine, another, other_request = attempt(owner=1), attempt(owner=2), attempt(request=1, owner=3)
    assert await outcomes.begin(mine, LEASE, LIFETIME) == Begun(Standing.NEW)
    assert await outcomes.begin(another, LEASE, LIFETIME) == Begun(Standing.RUNNING)
    assert await outcomes.begin(other_request, LEASE, LIFETIME) == Begun(Standing.ANOTHER)
    await outcomes.end(another, Standing.DONE, b"forged")  # not its to end
    await outcomes.release(another)
    assert await outcomes.begin(another, LEASE, LIFETIME) == Begun(Standing.RUNNING)
    await outcomes.end(mine, Standing.DONE, b"\0answer\xff")
    assert await outcomes.begin(another, LEASE, LIFETIME) == Begun(Standing.DONE, b"\0answer\xff")
    assert await outcomes.begin(attempt(key=1), LEASE, LIFETIME) == Begun(Standing.NEW)
    await outcomes.release(attempt(key=1))
    assert await outcomes.begin(attempt(key=1, request=1), LEASE, LIFETIME) == Begun(Standing.NEW)


async def test_one_that_does_not_end_is_given_up_and_never_run_again(outcomes: OutcomeStore) -> None:
    assert await outcomes.begin(attempt(), 0.001, LIFETIME) == Begun(Standing.NEW)
    async with asyncio.timeout(5):
        while (begun := await outcomes.begin(attempt(owner=1), LEASE, LIFETIME)) == Begun(Standing.RUNNING):
            pass
    assert begun == Begun(Standing.UNKNOWN)
    await outcomes.end(attempt(), Standing.DONE, b"late, but true")
    assert await outcomes.begin(attempt(owner=1), LEASE, LIFETIME) == Begun(Standing.DONE, b"late, but true")


async def test_of_many_at_once_one_begins(outcomes: OutcomeStore) -> None:
    begun = await asyncio.gather(*(outcomes.begin(attempt(owner=each), LEASE, LIFETIME) for each in range(20)))
    assert [each.standing for each in begun].count(Standing.NEW) == 1


async def test_when_all_that_is_kept_still_counts_nothing_new_is_begun() -> None:
    file = LocalFile(IN_MEMORY)
    store = LocalOutcomes(file, 1)
    assert await store.begin(attempt(), LEASE, LIFETIME) == Begun(Standing.NEW)
    with pytest.raises(StoreUnavailable):
        await store.begin(attempt(key=1), LEASE, LIFETIME)
    assert await store.begin(attempt(owner=1), LEASE, LIFETIME) == Begun(Standing.RUNNING)
    await file.close()
