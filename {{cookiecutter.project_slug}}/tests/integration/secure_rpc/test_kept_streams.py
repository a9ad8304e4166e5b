"""Streams go on through whatever ends their calls: nothing is lost or comes twice, and what is missing is said."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_rpc import errors
from secure_rpc.client_streams import KeptStream, Persistence, Position, SequenceGap, SequenceReset, Timing

from support.certificates import Certificates
from support.clocks import Clock, until
from support.feed import EXPIRED, Feed, Sleeps, Source, Turn, unavailable
from support.kept_streams import LIFE, NOW, PATIENCE_SECONDS, all_of, kept, number, take

C = grpc.StatusCode


# --- whatever happens ----------------------------------------------------------------------------------------------

ENDINGS = [
    EXPIRED,
    unavailable(),
    unavailable(retry_seconds=7),
    errors.Cancelled(),
    errors.Internal(),
    errors.Unknown(),
    errors.Aborted(),
    errors.ResourceExhausted(),
    errors.DeadlineExceeded(),
]
TURNS = st.builds(
    Turn,
    messages=st.integers(0, 12),
    ending=st.sampled_from(ENDINGS),
    expires_at=st.sampled_from([None, NOW + LIFE, NOW + 100 * LIFE]),
    again=st.integers(0, 3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.integers(1, 4), min_size=1, max_size=40),
    turns=st.lists(TURNS, max_size=15),
    after=st.integers(0, 3),
    pauses=st.sets(st.integers(0, 40)),
    consecutive=st.booleans(),
)
async def test_every_message_comes_once_and_in_order_wherever_calls_are_cut(
    certificates: Certificates,
    steps: list[int],
    turns: list[Turn],
    after: int,
    pauses: set[int],
    *,
    consecutive: bool,
) -> None:
    numbers = [sum(1 if consecutive else step for step in steps[: place + 1]) for place in range(len(steps))]
    feed = Feed(numbers, list(turns), is_complete=True)
    async with Source(certificates, feed) as source:
        came = []
        async with asyncio.timeout(PATIENCE_SECONDS), kept(source, after=after, consecutive=consecutive) as stream:
            async for message in stream:
                came.append(number(message))
                if len(came) in pauses:
                    await asyncio.sleep(0)
        assert came == [each for each in numbers if each > after]
        assert stream.position.sequence == max([after, *came])


# --- after the end -------------------------------------------------------------------------------------------------


async def test_a_server_that_starts_again_is_asked_for_what_is_left(certificates: Certificates) -> None:
    feed = Feed([1, 2])
    async with Source(certificates, feed) as source:

        async def start_again() -> None:
            feed.add(3)
            await source.start()
            await source.channel.channel_ready()

        sleep = Sleeps(Clock(NOW), meanwhile=start_again)
        async with kept(source, sleep=sleep) as stream:
            assert await take(stream, 2) == [1, 2]
            await source.server.stop(None)
            assert await take(stream, 1) == [3]
    assert feed.cursors == [0, 2]


async def test_waits_grow_up_to_a_bound_and_begin_anew_with_each_message(certificates: Certificates) -> None:
    away = Turn(0, unavailable())
    feed = Feed([1, 2], [away, away, away, away, Turn(1, unavailable()), away, Turn(1)])
    sleep = Sleeps(Clock(NOW))
    persistence = Persistence(first_seconds=1, longest_seconds=3, attempts=4)
    async with Source(certificates, feed) as source:
        assert await all_of(kept(source, sleep=sleep, persistence=persistence)) == [1, 2]
    assert sleep.seconds == [0.5, 1.0, 1.5, 1.5, 0.5, 1.0]


async def test_it_is_given_up_after_enough_attempts_or_waits_and_the_last_error_says_so(
    certificates: Certificates,
) -> None:
    for persistence in (
        Persistence(first_seconds=1, attempts=2),
        Persistence(first_seconds=1, wait_seconds=1.5),
    ):
        feed = Feed([], [Turn(0, unavailable())] * 9)
        async with Source(certificates, feed) as source:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await all_of(kept(source, persistence=persistence))
        assert caught.value.code() is C.UNAVAILABLE
        assert caught.value.__notes__ == ["given up after 2 attempts and 1.5 s of waiting"]
        assert len(feed.cursors) == 3


@pytest.mark.parametrize(("lasts_seconds", "goes_on"), [(10.0, True), (9.9, False)])
async def test_a_call_that_lasts_is_progress_where_nothing_comes(
    certificates: Certificates, lasts_seconds: float, *, goes_on: bool
) -> None:
    clock = Clock(NOW)
    feed = Feed([], [Turn(0, unavailable())] * 3, is_complete=True, before_ending=lambda: clock.pass_(lasts_seconds))
    async with Source(certificates, feed) as source:
        stream = kept(source, sleep=Sleeps(clock), persistence=Persistence(attempts=1))
        if goes_on:
            assert await all_of(stream) == []
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await all_of(stream)


async def test_a_server_that_says_when_to_come_again_is_waited_for(certificates: Certificates) -> None:
    feed = Feed([1], [Turn(0, unavailable(retry_seconds=45.5)), Turn(1)])
    sleep = Sleeps(Clock(NOW))
    async with Source(certificates, feed) as source:
        assert await all_of(kept(source, sleep=sleep, persistence=Persistence(first_seconds=1))) == [1]
    assert sleep.seconds == [46.0]


@pytest.mark.parametrize(
    "ending",
    [
        errors.InvalidArgument(),
        errors.NotFound(),
        errors.AlreadyExists(),
        errors.PermissionDenied(),
        errors.FailedPrecondition(),
        errors.OutOfRange(),
        errors.Unimplemented(),
        errors.DataLoss(),
        errors.Unauthenticated(),
        errors.Unauthenticated(reason="CREDENTIAL_REVOKED"),
    ],
    ids=lambda ending: f"{ending.code.name} {ending.reason}",
)
async def test_what_will_not_pass_is_raised_at_once(certificates: Certificates, ending: errors.StatusError) -> None:
    feed = Feed([1, 2], [Turn(1, ending)])
    async with Source(certificates, feed) as source, kept(source) as stream:
        assert await take(stream, 1) == [1]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await take(stream, 1)
        assert caught.value.code() is ending.code
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert len(feed.cursors) == 1


# --- what is missing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [False, True], ids=["after the end", "ahead of it"])
async def test_a_gap_is_raised_not_skipped(certificates: Certificates, *, ahead: bool) -> None:
    first = Turn(expires_at=NOW + LIFE) if ahead else Turn(2, unavailable())
    feed = Feed([1, 2], [first, Turn(skip=1)])
    taken = asyncio.Event()
    sleep = Sleeps(Clock(NOW), meanwhile=taken.wait)
    async with Source(certificates, feed) as source, kept(source, sleep=sleep) as stream:
        assert await take(stream, 2) == [1, 2]
        taken.set()
        if ahead:
            await until(lambda: len(feed.cursors) == 2)
        feed.add(*range(3, 9))
        with pytest.raises(SequenceGap) as caught:
            await take(stream, 9)
    assert caught.value.sequence == caught.value.after + 2


async def test_a_gap_within_a_call_is_raised_where_numbers_are_consecutive(certificates: Certificates) -> None:
    feed = Feed([5, 6, 8], is_complete=True)
    async with Source(certificates, feed) as source:
        with pytest.raises(SequenceGap, match="8 comes after 6: 1 messages are missing"):
            await all_of(kept(source))
        assert await all_of(kept(source, consecutive=False)) == [5, 6, 8]


async def test_a_server_that_counts_anew_is_not_gone_on_with(certificates: Certificates) -> None:
    feed = Feed([1, 2, 3], [Turn(2, unavailable()), Turn(shift=2)])
    async with Source(certificates, feed) as source:
        with pytest.raises(SequenceReset, match="1 comes after 2: the server did not begin where it was asked to"):
            await all_of(kept(source))


async def test_a_cursor_can_be_something_else_than_the_number(certificates: Certificates) -> None:
    asked: list[Any] = []
    feed = Feed([1, 2, 3, 4], [Turn(2, unavailable())], is_complete=True)

    async with Source(certificates, feed) as source:

        def open_call(cursor: str) -> Any:
            asked.append(cursor)
            return source.open_call(int(cursor.removeprefix("page ")))

        stream: KeptStream[bytes] = KeptStream(
            source.channel,
            open_call,
            lambda message: Position(int(message), f"page {int(message)}"),
            after=Position(1, "page 1"),
            timing=Timing(sleep=Sleeps(Clock(NOW))),
        )
        assert await all_of(stream) == [2, 3, 4]
    assert asked == ["page 1", "page 3"]
