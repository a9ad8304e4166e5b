"""Nothing but a StatusError gets past the boundary, and the log knows why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.observing import observed
from secure_rpc.stages.error_boundary import ErrorBoundary

SECRET = "hunter2"  # noqa: S105  # what no caller may see
MakeCall: TypeAlias = Callable[..., Call]
MakeMethod: TypeAlias = Callable[..., Method]


async def passed(method: Method, call: Call, raised: BaseException | None) -> BaseException | None:
    """Return what comes out above the boundary when this is raised below it."""

    async def proceed(_call: Call) -> None:
        if raised is not None:
            raise raised

    try:
        await observed(method, [ErrorBoundary().bind(method)])(call, proceed)
    except BaseException as error:  # noqa: BLE001  # whatever it is
        return error
    return None


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        TimeoutError(SECRET),
        StopAsyncIteration(SECRET),
        ExceptionGroup(SECRET, [OSError()]),
    ],
)
async def test_an_exception_becomes_internal_and_its_text_goes_to_the_log_alone(
    method: MakeMethod, call: MakeCall, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    made = call()
    found = await passed(method(), made, error)
    assert isinstance(found, errors.Internal)
    assert (found.message, found.reason) == ("internal error", "INTERNAL")
    assert found.__cause__ is error
    [entry] = caplog.records
    assert entry.getMessage() == f"a stage failed in /things.v1.Things/Get, call {made.id}"
    assert entry.exc_info is not None
    assert entry.exc_info[1] is error


@pytest.mark.parametrize("error", [errors.NotFound("no"), asyncio.CancelledError()])
async def test_how_a_call_is_meant_to_end_passes_as_it_is(
    method: MakeMethod, call: MakeCall, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    assert await passed(method(), call(), error) is error
    assert caplog.records == []


async def test_a_call_that_ends_well_passes(method: MakeMethod, call: MakeCall) -> None:
    assert await passed(method(), call(), None) is None


async def test_unknown_methods_are_guarded_too(
    method: MakeMethod, call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(await passed(method(""), call(), ValueError(SECRET)), errors.Internal)
    assert "an unknown method" in caplog.text
