"""Too many calls at once are refused before they cost anything, and every call that ends makes room again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from google.rpc import error_details_pb2
from prometheus_client import CollectorRegistry

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware
from secure_rpc.shedding.admission import HEALTH_CALLS
from secure_rpc.shedding.delays import Delays
from secure_rpc.shedding.settings import Load
from secure_rpc.stages.load_limit import PUSHBACK_KEY, LoadLimit
from secure_rpc.telemetry.load_metrics import LoadMetrics

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


def stage_of(
    calls: int, per_peer: int, metadata_bytes: int = 1000, *, delays: Delays | None = None, **settings: Any
) -> LoadLimit:
    """Return the stage, with no shares and no delays unless the settings say so."""
    usual = {"fair_share_above": 1.0, "refusal_delay_seconds": 0.0}
    load = Load(max_concurrent_calls=calls, max_concurrent_calls_per_peer=per_peer, **{**usual, **settings})
    return LoadLimit(load, metadata_bytes, LoadMetrics(CollectorRegistry()), delays=delays, chance=lambda: 0.75)


async def begin(limit: Middleware, calls: list[Call], held: Held) -> list[asyncio.Task[None]]:
    async def make(call: Call) -> None:
        try:
            await limit(call, held)
        finally:
            call.end()

    tasks = [asyncio.create_task(make(call)) for call in calls]
    await asyncio.sleep(0)
    return tasks


def refusal(task: asyncio.Task[None]) -> errors.ResourceExhausted:
    error = task.exception()
    assert isinstance(error, errors.ResourceExhausted)
    return error


def test_refusals_are_held_as_the_settings_say() -> None:
    delays = stage_of(3, 10, refusal_delay_seconds=2.0, delayed_refusals_per_second_per_peer=0.5).delays
    assert 1.0 <= delays.seconds_of(1) <= 3.0
    assert 100.0 <= delays.seconds_of(100) <= 300.0


async def test_one_call_more_than_the_limit_is_refused(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), stage_of(3, 10, 1000)
    calls = [call(address=f"ipv4:10.0.0.{number}:1") for number in range(4)]
    tasks = await begin(stage.bind(method()), calls, held)
    found = refusal(tasks[3])
    assert held.entered == 3
    assert (found.message, found.reason) == ("the server is at its limit of calls", "LOAD_LIMIT")
    [detail] = found.details
    assert isinstance(detail, error_details_pb2.RetryInfo)
    assert detail.retry_delay.ToTimedelta() == timedelta(seconds=1.25)
    assert found.trailers == ((PUSHBACK_KEY, "1250"),)
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_address_cannot_take_the_place_of_all(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), stage_of(10, 2, 1000)
    calls = [call(address=f"ipv4:10.0.0.1:{port}") for port in (1, 2, 3)] + [call(address="ipv4:10.0.0.2:1")]
    tasks = await begin(stage.bind(method()), calls, held)
    assert refusal(tasks[2]).message == "your address is at its limit of calls"
    assert held.entered == 3
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_addresses_of_one_network_of_ipv6_are_one_peer(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), stage_of(10, 1, 1000)
    calls = [call(address=f"ipv6:[2001:db8::{number}]:1") for number in (1, 2)]
    tasks = await begin(stage.bind(method()), calls, held)
    assert refusal(tasks[1]).reason == "PEER_LIMIT"
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_methods_share_one_limit(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), stage_of(1, 10, 1000)
    [first] = await begin(stage.bind(method("/a.B/C")), [call()], held)
    [second] = await begin(stage.bind(method("")), [call()], held)
    assert refusal(second).reason == "LOAD_LIMIT"
    held.end.set_result(None)
    await first


@pytest.mark.parametrize("how", ["well", "with an error", "cancelled"])
async def test_every_call_that_ends_makes_room_however_it_ends(call: MakeCall, method: MakeMethod, how: str) -> None:
    held, stage = Held(), stage_of(5, 5, 1000)
    tasks = await begin(stage.bind(method()), [call() for _ in range(20)], held)
    assert (stage.admission.calls, held.entered) == (5, 5)
    if how == "well":
        held.end.set_result(None)
    elif how == "with an error":
        held.end.set_exception(ValueError("broken"))
    else:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (stage.admission.calls, len(stage.admission)) == (0, 0)
    if how == "cancelled":
        held.end.cancel()


async def test_addresses_that_were_refused_are_not_remembered(call: MakeCall, method: MakeMethod) -> None:
    held, stage = Held(), stage_of(1, 1, 1000)
    calls = [call(address=f"ipv4:10.0.{number}.1:1") for number in range(50)]
    tasks = await begin(stage.bind(method()), calls, held)
    assert len(stage.admission) == 1
    held.end.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("value", "fits"), [("x" * 57, True), ("x" * 58, False), (b"x" * 58, False)])
async def test_metadata_is_counted_as_http_2_counts_it(
    call: MakeCall, method: MakeMethod, value: str | bytes, *, fits: bool
) -> None:
    """Key, value and 32 bytes for each entry; here 11 + 57 + 32 = 100."""
    held, stage = Held(), stage_of(1, 1, 100)
    held.end.set_result(None)
    [task] = await begin(stage.bind(method()), [call(metadata=(("x-eleven-ch", value),))], held)
    await asyncio.wait([task])
    if fits:
        assert task.exception() is None
    else:
        found = refusal(task)
        assert (found.reason, found.message) == ("METADATA_TOO_LARGE", "metadata may have 100 bytes")
    assert stage.admission.calls == 0


async def test_refusals_of_a_peer_beyond_its_share_are_held_back_and_those_of_others_are_not(
    call: MakeCall, method: MakeMethod
) -> None:
    over, held_back = asyncio.Event(), []

    async def pause(seconds: float) -> None:
        held_back.append(seconds)
        await over.wait()

    delays = Delays(1.0, 1, 1, chance=lambda: 0.5, pause=pause)
    held, stage = Held(), stage_of(4, 4, fair_share_above=0.5, delays=delays)
    limit = stage.bind(method())
    flood = await begin(limit, [call(address="ipv4:10.0.0.1:1") for _ in range(4)], held)
    assert [task.done() for task in flood] == [False, False, False, True]  # two are served, one held, none is beyond
    good = await begin(limit, [call(address=f"ipv4:10.0.0.{number}:1") for number in (2, 3, 4)], held)
    assert (held.entered, refusal(good[2]).reason, held_back) == (4, "LOAD_LIMIT", [1.0])
    stage.refresh()
    assert stage._metrics.delayed._value.get() == 1
    over.set()
    await asyncio.wait([flood[2]])
    assert refusal(flood[2]).reason == refusal(flood[3]).reason == "LOAD_SHED"
    held.end.set_result(None)
    await asyncio.gather(*flood, *good, return_exceptions=True)
    assert [stage._refusals[reason]._value.get() for reason in ("LOAD_SHED", "LOAD_LIMIT", "PEER_LIMIT")] == [2, 1, 0]


async def test_health_checks_are_let_in_when_nobody_else_is_as_long_as_they_are_few(
    call: MakeCall, method: MakeMethod
) -> None:
    held, stage = Held(), stage_of(1, 1)
    [first] = await begin(stage.bind(method()), [call()], held)
    checks = await begin(stage.bind(method("/grpc.health.v1.Health/Check")), [call() for _ in range(20)], held)
    assert held.entered == 1 + HEALTH_CALLS
    assert refusal(checks[-1]).reason == "PEER_LIMIT"
    [too_large] = await begin(
        stage.bind(method("/grpc.health.v1.Health/Check")), [call(metadata=(("x", "x" * 2000),))], held
    )
    held.end.set_result(None)
    await asyncio.gather(first, *checks, too_large, return_exceptions=True)
    assert len(stage.admission) == 0


@pytest.mark.parametrize("adaptive", [True, False])
async def test_the_limit_follows_the_lag_unless_told_not_to(*, adaptive: bool) -> None:
    stage = stage_of(100, 100, adaptive=adaptive)
    for _ in range(100):
        stage.saw(1.0)
    stage.refresh()
    assert (stage._metrics.limit._value.get(), stage._metrics.lag._value.get()) == (20 if adaptive else 100, 1.0)
