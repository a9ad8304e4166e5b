"""Streams are extended or opened anew ahead of their end, hold the server back, and leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.client_streams import SequenceGap

from support.certificates import Certificates
from support.clocks import Clock, until
from support.feed import Feed, Refreshing, Sleeps, Source, Turn, unavailable
from support.kept_streams import LIFE, NOW, PATIENCE_SECONDS, all_of, kept, take

# --- ahead of the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [None, errors.PermissionDenied(), errors.NotFound()])
async def test_a_stream_that_cannot_be_extended_is_opened_again_before_it_ends(
    certificates: Certificates, refusal: errors.StatusError | None
) -> None:
    feed = Feed([1, 2], [Turn(expires_at=NOW + LIFE, session_id="first"), Turn(expires_at=NOW + 9 * LIFE)])
    refreshing = Refreshing([refusal]) if refusal else None
    sleep = Sleeps(Clock(NOW), longest=LIFE)
    async with Source(certificates, feed, refreshing) as source, kept(source, sleep=sleep) as stream:
        assert await take(stream, 2) == [1, 2]
        await until(lambda: feed.under_way == 1 and len(feed.cursors) == 2)
        feed.add(3)
        assert await take(stream, 1) == [3]
    assert sleep.seconds[0] == LIFE * 0.85
    assert feed.cursors[0] == 0
    assert refreshing is None or refreshing.asked == ["first"]


async def test_a_server_that_extends_no_sessions_is_asked_once(certificates: Certificates) -> None:
    ends = [NOW + LIFE, NOW + 2 * LIFE, NOW + 99 * LIFE]
    feed = Feed([], [Turn(expires_at=end, session_id=str(end)) for end in ends])
    refreshing, sleep = Refreshing([errors.Unimplemented()]), Sleeps(Clock(NOW), longest=2 * LIFE)
    async with Source(certificates, feed, refreshing) as source, kept(source, sleep=sleep):
        await until(lambda: len(feed.cursors) == 3)
    assert refreshing.asked == [str(ends[0])]


async def test_the_old_call_serves_until_the_new_one_is_open(certificates: Certificates) -> None:
    """The second call is refused, the third says nothing for long."""
    first = Turn(expires_at=NOW + LIFE)
    feed = Feed([1], [first, Turn(0, unavailable()), Turn()])
    taken = asyncio.Event()
    sleep = Sleeps(Clock(NOW), meanwhile=taken.wait)
    async with Source(certificates, feed) as source, kept(source, sleep=sleep) as stream:
        assert await take(stream, 1) == [1]
        taken.set()
        await until(lambda: len(feed.cursors) >= 3)
        assert feed.under_way == 2
        feed.add(2, 3)
        assert await take(stream, 2) == [2, 3]
        await until(lambda: feed.under_way == 1)
        feed.add(4)
        assert await take(stream, 1) == [4]


async def test_a_session_is_extended_again_and_again_on_one_call(certificates: Certificates) -> None:
    feed = Feed([1], [Turn(expires_at=NOW + LIFE, session_id="mine")])
    ends = [NOW + LIFE * n for n in (2, 3, 4)]
    sleep = Sleeps(Clock(NOW), longest=2 * LIFE)
    refreshing = Refreshing([*ends, NOW + 10 * LIFE])
    async with Source(certificates, feed, refreshing) as source, kept(source, sleep=sleep) as stream:
        assert await take(stream, 1) == [1]
        await until(lambda: len(sleep.seconds) == 5)
    assert feed.cursors == [0]
    assert refreshing.asked == ["mine"] * 4
    assert sleep.seconds[:2] == [LIFE * 0.85, LIFE * 1.15 * 0.85]


@pytest.mark.parametrize("answer", [NOW + LIFE, unavailable(), errors.ResourceExhausted()])
async def test_where_the_first_attempt_changes_nothing_there_is_another_before_a_new_call(
    certificates: Certificates, answer: float | errors.StatusError
) -> None:
    """As when the token source still gives the old token."""
    feed = Feed([1], [Turn(expires_at=NOW + LIFE, session_id="mine"), Turn(expires_at=NOW + 90 * LIFE)])
    refreshing = Refreshing([answer, NOW + 2 * LIFE, answer])
    sleep = Sleeps(Clock(NOW), longest=2 * LIFE)
    async with Source(certificates, feed, refreshing) as source, kept(source, sleep=sleep) as stream:
        assert await take(stream, 1) == [1]
        await until(lambda: len(feed.cursors) == 2)
        await until(lambda: feed.under_way == 1)
    assert refreshing.asked == ["mine"] * 4


async def test_a_call_that_has_not_opened_by_the_end_of_the_old_one_is_given_up(certificates: Certificates) -> None:
    feed = Feed([1], [Turn(expires_at=NOW + 1), *[Turn(skip=1)] * 9])
    async with Source(certificates, feed) as source, kept(source) as stream:
        assert await take(stream, 1) == [1]
        await until(lambda: len(feed.cursors) == 3)
        await until(lambda: feed.under_way == 1)
        feed.add(2)
        assert await take(stream, 1) == [2]


async def test_a_clock_that_is_wrong_makes_no_storm(certificates: Certificates) -> None:
    """All sessions seem to have ended long ago, or will so after a moment."""
    for ends in (NOW - LIFE, NOW):
        feed = Feed([1], [Turn(expires_at=ends, session_id="mine"), Turn(expires_at=ends)])
        refreshing = Refreshing([ends])
        async with Source(certificates, feed, refreshing) as source, kept(source) as stream:
            for message in range(1, 20):
                assert await take(stream, 1) == [message]
                feed.add(message + 1)
            assert (feed.cursors, refreshing.asked) == ([0], [])


# --- in the end ----------------------------------------------------------------------------------------------------


def ours() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if "client_streams" in str(task.get_coro())]


@pytest.mark.parametrize("end", ["leave", "cancel", "close", "fail", "never begin"])
async def test_nothing_is_left_of_a_stream_that_is_not_wanted_any_more(certificates: Certificates, end: str) -> None:
    feed = Feed([1], [Turn(expires_at=NOW + LIFE)])
    async with Source(certificates, feed) as source:
        stream = kept(source, sleep=Sleeps(Clock(NOW), longest=0))
        if end == "never begin":
            await stream.close()
        else:
            async with stream:
                assert await take(stream, 1) == [1]
                waiting = asyncio.create_task(take(stream, 1))
                await asyncio.sleep(0)
                acts: dict[str, Callable[[], object]] = {"cancel": waiting.cancel, "fail": lambda: feed.add(3)}
                acts.get(end, lambda: None)()
                if end == "close":
                    await stream.close()
                if end != "leave":
                    [ended] = await asyncio.gather(waiting, return_exceptions=True)
                    kinds = {"cancel": asyncio.CancelledError, "fail": SequenceGap, "close": RuntimeError}
                    assert isinstance(ended, kinds.get(end, StopAsyncIteration)) or end == "close"
                    assert ours() == []
            await asyncio.gather(waiting, return_exceptions=True)
            await asyncio.wait_for(feed.idle.wait(), PATIENCE_SECONDS)
        assert ours() == []
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_closing_while_another_call_is_being_opened_ends_both(certificates: Certificates) -> None:
    feed = Feed([1], [Turn(expires_at=NOW + LIFE), Turn(skip=1)])
    async with Source(certificates, feed) as source:
        async with kept(source) as stream:
            assert await take(stream, 1) == [1]
            await until(lambda: feed.under_way == 2)
        await asyncio.wait_for(feed.idle.wait(), PATIENCE_SECONDS)
        assert ours() == []


async def test_who_does_not_take_messages_holds_the_server_back(certificates: Certificates) -> None:
    feed = Feed(list(range(1, 100)), is_complete=True)
    async with Source(certificates, feed) as source, kept(source) as stream:
        await until(stream._arrived.full)
        assert await all_of(stream) == feed.numbers


async def test_a_closed_channel_is_said_to_be_closed(certificates: Certificates) -> None:
    feed = Feed([1])
    async with Source(certificates, feed) as source, kept(source) as stream:
        assert await take(stream, 1) == [1]
        await source.channel.close()
        with pytest.raises(grpc.aio.UsageError):
            await take(stream, 1)
    assert ours() == []


async def test_what_the_application_gets_wrong_reaches_it(certificates: Certificates) -> None:
    feed = Feed([1], is_complete=True)
    async with Source(certificates, feed) as source:

        def position(_message: bytes) -> int:
            raise LookupError("no number")

        with pytest.raises(LookupError, match="no number"):
            await all_of(kept(source, position=position))
        assert ours() == []
