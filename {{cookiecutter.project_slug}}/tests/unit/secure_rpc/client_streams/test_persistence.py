"""A stream is opened again where another attempt may end otherwise, later each time, and not for ever."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.client_streams.persistence import Attempts, Persistence, Told, may_pass, told_by

C = grpc.StatusCode


def failed(error: errors.StatusError) -> grpc.aio.AioRpcError:
    """Return an error as the client sees it."""
    trailers = grpc.aio.Metadata(*error.trailing_metadata())
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), trailers, error.message)


@pytest.mark.parametrize("code", [code for code in C if code is not C.OK])
def test_each_code_passes_or_does_not(code: grpc.StatusCode) -> None:
    passing = {
        C.UNAVAILABLE,
        C.CANCELLED,
        C.DEADLINE_EXCEEDED,
        C.RESOURCE_EXHAUSTED,
        C.ABORTED,
        C.INTERNAL,
        C.UNKNOWN,
    }
    assert may_pass(failed(errors.of(code))) == (code in passing)


@pytest.mark.parametrize(("reason", "passes"), [("TOKEN_EXPIRED", True), ("CREDENTIAL_REVOKED", False), ("", False)])
def test_of_those_who_are_not_known_only_an_expired_token_may_come_again(reason: str, *, passes: bool) -> None:
    assert may_pass(failed(errors.Unauthenticated(reason=reason))) is passes
    assert may_pass(failed(errors.PermissionDenied(reason=reason))) is False


def test_what_an_error_says_is_read_and_what_cannot_be_read_is_nothing() -> None:
    detail = errors.retry_after(timedelta(seconds=2.5))
    assert told_by(failed(errors.Unavailable(reason="WAIT", details=[detail]))) == Told("WAIT", 2.5)
    assert told_by(failed(errors.Unavailable(details=[errors.retry_after(timedelta(seconds=-3))]))) == Told("", 0.0)
    assert told_by(failed(errors.Unavailable())) == Told("", 0.0)
    garbage = grpc.aio.Metadata((errors.STATUS_DETAILS_KEY, b"\xff\xff"))
    assert told_by(grpc.aio.AioRpcError(C.UNAVAILABLE, grpc.aio.Metadata(), garbage)) == Told("", 0.0)
    assert told_by(grpc.aio.AioRpcError(C.UNAVAILABLE)) == Told("", 0.0)


def test_waits_are_by_chance_so_that_many_clients_do_not_come_back_at_once() -> None:
    error = failed(errors.Unavailable())
    for chance in (0.0, 0.25, 0.75):
        attempts = Attempts(Persistence(first_seconds=4, longest_seconds=10), lambda chance=chance: chance)  # type: ignore[misc]
        assert [attempts.wait_seconds(error) for _ in range(4)] == [4 * chance, 8 * chance, 10 * chance, 10 * chance]


def test_a_server_that_asks_for_more_than_there_is_is_not_waited_for() -> None:
    error = failed(errors.Unavailable(details=[errors.retry_after(timedelta(hours=1))]))
    with pytest.raises(grpc.aio.AioRpcError):
        Attempts(Persistence(), lambda: 0.0).wait_seconds(error)
