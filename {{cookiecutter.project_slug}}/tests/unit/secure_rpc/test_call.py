"""A call by itself: its headers, its outcome, its name, and the patience that many of them share."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Contract, Method, Patience, Peer, Principal
from secure_rpc.outcome import CLOCK_TOLERANCE_SECONDS

C = grpc.StatusCode
PATH = "/probe.v1.ProbeService/Unary"
SHORT_SECONDS, LONG_SECONDS = 0.03, 1


@dataclass
class Clock:
    """gRPC's context, as far as an outcome asks it."""

    remaining: float | None = None

    def time_remaining(self) -> float | None:
        return self.remaining


def a_call(*metadata: tuple[str, str | bytes], remaining: float | None = None) -> Call:
    call = Call(Method(PATH, Patience(1), request_streaming=False), PATH, metadata)
    call.context = Clock(remaining)
    return call


# --- bytes of a request that was read already -----------------------------------------------------------------------


@dataclass
class Sender:
    """gRPC's context, as far as a request is read from it."""

    raw: bytes

    async def read(self) -> bytes:
        return self.raw


async def test_bytes_that_one_stage_has_checked_are_there_for_the_next() -> None:
    call, first, second = a_call(), list[bytes](), list[bytes]()
    call.context = Sender(b"bytes")
    call.check_raw_requests(first.append)
    await call.request()
    call.check_raw_requests(second.append)
    assert first == second == [b"bytes"]


async def test_a_check_of_bytes_that_comes_too_late_ends_the_call() -> None:
    call = a_call()
    call.context = Sender(b"bytes")
    await call.request()  # by a stage that does not care for the bytes
    with pytest.raises(errors.Internal):
        call.check_raw_requests(lambda _raw: None)


async def test_a_request_is_unsealed_though_it_was_read_before() -> None:
    for late in (False, True):
        call, seen = a_call(), list[bytes]()
        call.context = Sender(b"bytes")
        if late:
            await call.request()
        call.unseal_requests(seen.append)
        await call.request()
        assert seen == [b"bytes"]


# --- headers -----------------------------------------------------------------------------------------------------


def test_a_header_that_is_there_once_is_read() -> None:
    call = a_call(("authorization", "Bearer x"), ("other", "y"))
    assert (call.header("authorization"), call.header("missing")) == ("Bearer x", "")


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "a"), ("authorization", "b")),
        (("authorization", "a"), ("authorization", "a")),
        (("authorization", ""), ("authorization", "b")),
        (("authorization", b"a"),),
    ],
)
def test_a_header_that_is_ambiguous_is_refused(metadata: tuple[tuple[str, str | bytes], ...]) -> None:
    with pytest.raises(errors.InvalidArgument, match="authorization must be sent once") as caught:
        a_call(*metadata).header("authorization")
    assert caught.value.reason == "METADATA_AMBIGUOUS"


# --- names -------------------------------------------------------------------------------------------------------


def test_the_correlation_id_is_unique_and_stays() -> None:
    calls = [a_call() for _ in range(1000)]
    ids = [call.id for call in calls]
    assert len(set(ids)) == len(ids)
    assert [call.id for call in calls] == ids
    assert len({name.partition("-")[0] for name in ids}) == 1  # of this process


def test_the_correlation_id_can_be_sent_as_a_trailer() -> None:
    trailer = ("correlation-id", a_call().id)
    assert trailer in errors.Internal(trailers=(trailer,)).trailing_metadata()


def test_a_principal_is_named_after_its_user_and_else_its_workload() -> None:
    assert Principal(workload="spiffe://here/web").name == "spiffe://here/web"
    assert Principal(workload="spiffe://here/web", subject="alice").name == "alice"


def test_principals_of_whom_the_same_was_proven_are_found_by_each_other() -> None:
    alice = Principal(subject="alice", tenants=frozenset({"a", "b"}), claims={"a": 1})
    same = Principal(subject="alice", tenants=frozenset({"b", "a"}))
    assert {alice: 1}[same] == 1
    other = dataclasses.replace(alice, subject="bob")
    assert other not in {alice: 1}
    assert hash(other) == hash(Principal(subject="bob", tenants=alice.tenants))


def test_a_principal_keeps_its_claims_to_itself() -> None:
    assert "hunter2" not in repr(Principal(subject="alice", claims={"secret": "hunter2"}))


def test_a_method_without_a_name_has_no_service() -> None:
    assert (Method("", Patience(1)).service, Method(PATH, Patience(1)).service) == ("", "probe.v1.ProbeService")


def test_a_contract_asks_for_an_identity_unless_it_says_otherwise() -> None:
    assert not Contract().public


def test_a_peer_without_tls_has_neither_certificate_nor_version() -> None:
    peer = Peer("ipv4:127.0.0.1:1", {})
    assert (peer.certificate_pem, peer.tls_version) == (b"", b"")


# --- outcomes ----------------------------------------------------------------------------------------------------

BEFORE, AFTER = 10 * CLOCK_TOLERANCE_SECONDS, CLOCK_TOLERANCE_SECONDS / 2


@pytest.mark.parametrize(
    ("error", "remaining", "code", "reason"),
    [
        (None, None, C.OK, ""),
        (None, AFTER, C.OK, ""),
        (errors.NotFound(reason="ORDER_MISSING"), None, C.NOT_FOUND, "ORDER_MISSING"),
        (errors.NotFound(), AFTER, C.NOT_FOUND, ""),
        (asyncio.CancelledError(), None, C.CANCELLED, ""),
        (asyncio.CancelledError(), BEFORE, C.CANCELLED, ""),
        (asyncio.CancelledError(), AFTER, C.DEADLINE_EXCEEDED, ""),
        (asyncio.CancelledError(), -1.0, C.DEADLINE_EXCEEDED, ""),
        (errors.Cancelled(), BEFORE, C.CANCELLED, ""),
        (errors.Cancelled(), AFTER, C.DEADLINE_EXCEEDED, ""),
        (errors.DeadlineExceeded(reason="REQUEST_TIMEOUT"), BEFORE, C.DEADLINE_EXCEEDED, "REQUEST_TIMEOUT"),
        (ValueError(), None, C.INTERNAL, ""),
        (TimeoutError(), AFTER, C.INTERNAL, ""),
        (KeyboardInterrupt(), None, C.INTERNAL, ""),
    ],
    ids=repr,
)
def test_the_outcome_names_what_the_caller_sees(
    error: BaseException | None, remaining: float | None, code: grpc.StatusCode, reason: str
) -> None:
    assert a_call(remaining=remaining).outcome(error) == (code, reason, error)


def test_a_call_that_has_ended_lets_go_of_its_checks_and_lets_no_message_pass() -> None:
    call, seen = a_call(), list[Any]()
    call.check_responses(seen.append)
    assert call.encode(b"in time") == b"in time"
    call.end()
    with pytest.raises(errors.Cancelled):
        call.encode(b"too late")
    assert seen == [b"in time"]


# --- patience ----------------------------------------------------------------------------------------------------


async def never() -> None:
    await asyncio.sleep(10 * LONG_SECONDS)


async def test_what_comes_in_time_is_returned_and_leaves_nothing_behind() -> None:
    patience = Patience(LONG_SECONDS)
    assert await patience.wait(asyncio.sleep(0, "here")) == "here"
    with pytest.raises(KeyError):
        await patience.wait(fail(KeyError()))
    assert not patience._waiting
    assert not patience._expired
    assert not current_task().cancelling()


async def fail(error: Exception) -> None:
    raise error


def current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def test_what_does_not_come_in_time_is_given_up_and_the_task_goes_on() -> None:
    with pytest.raises(TimeoutError):
        await Patience(SHORT_SECONDS).wait(never())
    assert not current_task().cancelling()
    await asyncio.sleep(0)


async def test_each_waits_its_own_time_with_one_timer_for_all() -> None:
    patience, loop = Patience(SHORT_SECONDS), asyncio.get_running_loop()
    timers: set[int] = set()

    async def wait(after: float) -> float:
        await asyncio.sleep(after)
        begun = loop.time()
        waiting = asyncio.create_task(give_up(patience, never()))
        await asyncio.sleep(0)
        timers.add(id(patience._timer))
        await waiting
        return loop.time() - begun

    waited = await asyncio.gather(*(wait(SHORT_SECONDS * number / 10) for number in range(9)))
    assert min(waited) >= SHORT_SECONDS * 0.9
    assert len(timers) == 1
    assert not patience._waiting
    assert not patience._expired


async def give_up(patience: Patience, awaitable: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):
        await patience.wait(awaitable)


async def test_the_timer_starts_anew_for_those_who_come_later() -> None:
    patience = Patience(SHORT_SECONDS)
    for _ in range(3):
        await give_up(patience, never())
    assert patience._timer is None


async def test_a_cancellation_by_somebody_else_is_no_timeout() -> None:
    patience = Patience(LONG_SECONDS)
    task = asyncio.create_task(patience.wait(never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not patience._waiting


async def test_a_failure_while_it_is_given_up_is_that_failure() -> None:
    async def break_off() -> None:
        try:
            await never()
        finally:
            raise KeyError

    patience = Patience(SHORT_SECONDS)
    with pytest.raises(KeyError):
        await patience.wait(break_off())
    assert not patience._expired
    assert not current_task().cancelling()


async def test_a_cancellation_at_the_same_moment_wins_over_the_timeout() -> None:
    patience, loop = Patience(LONG_SECONDS), asyncio.get_running_loop()
    task = asyncio.create_task(patience.wait(never()))
    await asyncio.sleep(0)
    patience._waiting[task] = loop.time(), 0
    patience._expire(loop)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_swallowed_before_does_not_hide_the_timeout() -> None:
    async def wait() -> None:
        task = current_task()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await never()
        assert task.cancelling() == 1
        await give_up(Patience(SHORT_SECONDS), never())
        assert task.cancelling() == 1

    await asyncio.create_task(wait())


async def test_a_timeout_swallowed_within_leaves_no_cancellation_behind() -> None:
    async def swallow() -> str:
        with suppress(asyncio.CancelledError):
            await never()
        return "too late"

    assert await Patience(SHORT_SECONDS).wait(swallow()) == "too late"
    assert not current_task().cancelling()


async def test_a_timeout_of_asyncio_around_patience_is_the_one_that_is_told() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_SECONDS) as outer:
            await Patience(LONG_SECONDS).wait(never())
    assert outer.expired()
