"""What a handler can do wrong, by name; the probe performs the one that it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import grpc

from secure_rpc import errors

from probe.v1 import probe_pb2 as pb

Act: TypeAlias = Callable[[pb.Ask, Any], Coroutine[Any, Any, Any]]

ACTS: dict[str, Act] = {}
SECRET = "hunter2"  # noqa: S105  # what no caller may ever see
TRAILER = ("x-trailer", "kept")


def act(function: Act) -> Act:
    """Have the probe know an act by its name."""
    ACTS[function.__name__] = function
    return function


async def perform(ask: pb.Ask, context: Any) -> Any:
    """Do what is asked and return the answer; what is no act is answered with its own text."""
    perform_act = ACTS.get(ask.act)
    done = await perform_act(ask, context) if perform_act else ask.act
    return pb.Answer(text=done) if isinstance(done, str) else done


# --- raising ---------------------------------------------------------------------------------------------------


@act
async def raise_an_error(_ask: pb.Ask, _context: Any) -> None:
    raise ValueError(SECRET)


@act
async def raise_a_timeout(_ask: pb.Ask, _context: Any) -> None:
    raise TimeoutError(SECRET)


@act
async def raise_a_unicode_error(_ask: pb.Ask, _context: Any) -> None:
    raise UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET)


@act
async def raise_a_status(_ask: pb.Ask, _context: Any) -> None:
    raise errors.NotFound("no such order", reason="ORDER_MISSING") from ValueError(SECRET)


@act
async def raise_a_status_with_trailers(_ask: pb.Ask, context: Any) -> None:
    context.set_trailing_metadata((TRAILER,))
    raise errors.NotFound("no such order", reason="ORDER_MISSING")


@act
async def raise_a_status_with_a_lone_surrogate(_ask: pb.Ask, _context: Any) -> None:
    raise errors.NotFound("no \ud800 order")


@act
async def raise_a_status_too_long_to_send(_ask: pb.Ask, _context: Any) -> None:
    raise errors.NotFound(
        "\N{GRINNING FACE}" * 5000, reason="ORDER_MISSING", details=[errors.bad_request({"f": "x" * 2000})]
    )


@act
async def raise_a_status_with_details_of_a_wrong_type(_ask: pb.Ask, _context: Any) -> None:
    details: Any = [SECRET]
    raise errors.NotFound("no such order", details=details)


@act
async def await_a_task_that_was_cancelled(_ask: pb.Ask, _context: Any) -> None:
    task = asyncio.create_task(asyncio.sleep(9))
    task.cancel()
    await task


@act
async def recover_from_a_failed_group(ask: pb.Ask, context: Any) -> str:
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(raise_an_error(ask, context))
    return ask.act


# --- in gRPC's own words -------------------------------------------------------------------------------------------


@act
async def abort(_ask: pb.Ask, context: Any) -> None:
    await context.abort(grpc.StatusCode.ALREADY_EXISTS, "already there", (TRAILER,))


@act
async def abort_with_none_for_trailers(_ask: pb.Ask, context: Any) -> None:
    await context.abort(grpc.StatusCode.ALREADY_EXISTS, "already there", None)


@act
async def abort_with_trailers_of_a_wrong_type(_ask: pb.Ask, context: Any) -> None:
    await context.abort(grpc.StatusCode.ALREADY_EXISTS, SECRET, (("x-trailer", 3),))


@act
async def abort_and_swallow_it(_ask: pb.Ask, context: Any) -> None:
    with contextlib.suppress(Exception):
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "already there")


@act
async def abort_in_a_group(_ask: pb.Ask, context: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(context.abort(grpc.StatusCode.ALREADY_EXISTS, "already there"))


@act
async def abort_with_ok(_ask: pb.Ask, context: Any) -> None:
    await context.abort(grpc.StatusCode.OK, "fine")


@act
async def set_a_code(_ask: pb.Ask, context: Any) -> None:
    context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
    context.set_details("not yet")


@act
async def set_a_code_and_raise(_ask: pb.Ask, context: Any) -> None:
    context.set_code(grpc.StatusCode.UNIMPLEMENTED)
    context.set_details("Method not implemented!")
    raise NotImplementedError(SECRET)


@act
async def set_details_and_raise(_ask: pb.Ask, context: Any) -> None:
    context.set_details("explicit")
    raise RuntimeError(SECRET)


@act
async def set_trailers(ask: pb.Ask, context: Any) -> str:
    context.set_trailing_metadata((TRAILER,))
    await context.send_initial_metadata((("x-initial", "sent"),))
    return ask.act


@act
async def set_trailers_that_cannot_be_sent(_ask: pb.Ask, context: Any) -> str:
    context.set_trailing_metadata((("x-echo", "a name of the caller's choice\n"),))
    return "never sent"


@act
async def send_metadata_that_cannot_be_sent(_ask: pb.Ask, context: Any) -> str:
    await context.send_initial_metadata((("X-Echo", "capitals"),))
    return "never sent"


# --- answering what was not promised -----------------------------------------------------------------------------


@act
async def answer_nothing(_ask: pb.Ask, _context: Any) -> None:
    return None


@act
async def answer_another_message(_ask: pb.Ask, _context: Any) -> pb.Ask:
    return pb.Ask(act=SECRET)


@act
async def answer_bytes(_ask: pb.Ask, _context: Any) -> bytes:
    return SECRET.encode()


# --- taking its time -----------------------------------------------------------------------------------------------


@act
async def sleep(_ask: pb.Ask, _context: Any) -> None:
    await asyncio.sleep(30)


@act
async def sleep_and_swallow_the_cancellation(ask: pb.Ask, _context: Any) -> str:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(30)
    return ask.act
