"""Too many calls at once are refused before they cost anything, and every call that ends makes room again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

import pytest
from google.rpc import error_details_pb2

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware
from secure_rpc.stages.load_limit import LoadLimit

MakeCall: TypeAlias = Callable[..., Call]
MakeMethod: TypeAlias = Callable[..., Method]


class Held:
    """A handler that holds its calls until told how to end."""

    def __init__(self) -> None:
        self.entered = 0
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self, _call: Call) -> None:
        self.entered += 1
        await asyncio.shield(self.end)


async def begin(limit: Middleware, calls: list[Call], held: Held) -> list[asyncio.Task[None]]:
    async def make(call: Call) -> None:
        await limit(call, held)

    tasks = [asyncio.create_task(make(call)) for call in calls]
    await asyncio.sleep(0)
    return tasks


def refusal(task: asyncio.Task[None]) -> errors.ResourceExhausted:
    error = task.exception()
    assert isinstance(error, errors.ResourceExhausted)
    return error


async def test_one_call_more_than_the_limit_is_refused(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), LoadLimit(3, 10, 1000)
    calls = [call(address=f"ipv4:10.0.0.{number}:1") for number in range(4)]
    tasks = await begin(stage.bind(method()), calls, held)
    found = refusal(tasks[3])
    assert held.entered == 3
    assert (found.message, found.reason) == ("the server is at its limit of calls", "LOAD_LIMIT")
    [detail] = found.details
    assert isinstance(detail, error_details_pb2.RetryInfo)
    assert detail.retry_delay.ToTimedelta() == timedelta(seconds=1)
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_address_cannot_take_the_place_of_all(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), LoadLimit(10, 2, 1000)
    calls = [call(address=f"ipv4:10.0.0.1:{port}") for port in (1, 2, 3)] + [call(address="ipv4:10.0.0.2:1")]
    tasks = await begin(stage.bind(method()), calls, held)
    assert refusal(tasks[2]).message == "your address is at its limit of calls"
    assert held.entered == 3
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_address_of_ipv6_is_taken_without_its_port(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), LoadLimit(10, 1, 1000)
    calls = [call(address=f"ipv6:[::1]:{port}") for port in (1, 2)]
    tasks = await begin(stage.bind(method()), calls, held)
    assert refusal(tasks[1]).reason == "LOAD_LIMIT"
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_methods_share_one_limit(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), LoadLimit(1, 10, 1000)
    [first] = await begin(stage.bind(method("/a.B/C")), [call()], held)
    [second] = await begin(stage.bind(method("")), [call()], held)
    assert refusal(second).reason == "LOAD_LIMIT"
    held.end.set_result(None)
    await first


@pytest.mark.parametrize("how", ["well", "with an error", "cancelled"])
async def test_every_call_that_ends_makes_room_however_it_ends(call: MakeCall, method: MakeMethod, how: str) -> None:
    held, stage = Held(), LoadLimit(5, 5, 1000)
    tasks = await begin(stage.bind(method()), [call() for _ in range(20)], held)
    assert (stage._calls, held.entered) == (5, 5)
    if how == "well":
        held.end.set_result(None)
    elif how == "with an error":
        held.end.set_exception(ValueError("broken"))
    else:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (stage._calls, dict(stage._of_peer)) == (0, {})
    if how == "cancelled":
        held.end.cancel()


async def test_addresses_that_were_refused_are_not_remembered(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), LoadLimit(1, 1, 1000)
    calls = [call(address=f"ipv4:10.0.{number}.1:1") for number in range(50)]
    tasks = await begin(stage.bind(method()), calls, held)
    assert len(stage._of_peer) == 1
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("value", "fits"), [("x" * 57, True), ("x" * 58, False), (b"x" * 58, False)])
async def test_metadata_is_counted_as_http_2_counts_it(
    call: MakeCall, method: MakeMethod, value: str | bytes, *, fits: bool
) -> None:
    """Key, value and 32 bytes for each entry; here 11 + 57 + 32 = 100."""
    held, stage = Held(), LoadLimit(1, 1, 100)
    held.end.set_result(None)
    [task] = await begin(stage.bind(method()), [call(metadata=(("x-eleven-ch", value),))], held)
    await asyncio.wait([task])
    if fits:
        assert task.exception() is None
    else:
        found = refusal(task)
        assert (found.reason, found.message) == ("METADATA_TOO_LARGE", "metadata may have 100 bytes")
    assert stage._calls == 0
