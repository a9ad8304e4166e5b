"""A client that is refused by a quota waits as it was told: gRPC by itself where that does no harm, else our helper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.client_retry import when_allowed
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.target import Target, reason_of, run_target
from support.world import ending

SOON = {"default": {"calls": 1, "period_seconds": 2}}  # gRPC's own back-off would have given up before
LATE = {"default": {"calls": 1, "period_seconds": 600}}


class Steady(probe_pb2_grpc.SteadyServiceServicer):
    async def Get(self, request: pb.Ask, _context: Any) -> pb.Answer:
        return pb.Answer(text=request.act)


def add(server: Any) -> None:
    probe_pb2_grpc.add_SteadyServiceServicer_to_server(Steady(), server)


@pytest.fixture
async def soon(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path, {"quotas": SOON}, add=[add]) as target:
        yield target


@pytest.fixture
async def late(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path, {"quotas": LATE}, add=[add]) as target:
        yield target


def refusals(target: Target) -> float:
    target.service.metric("")  # has what is counted written
    return sum(
        target.service.metric("secure_rpc_refusals_total", grpc_method=method, reason="QUOTA_EXHAUSTED")
        for method in ("probe.v1.SteadyService/Get", "/probe.v1.SteadyService/Get")
    )


def get(target: Target, **options: Any) -> Any:
    """Begin a call that may be made twice."""
    stub: Any = probe_pb2_grpc.SteadyServiceStub(target.service.client_as("alice"))
    return stub.Get(pb.Ask(act="anything"), timeout=20, **options)


async def test_a_harmless_method_is_made_again_when_the_server_said_and_not_before(soon: Target) -> None:
    assert await get(soon).code() is grpc.StatusCode.OK
    assert await get(soon).code() is grpc.StatusCode.OK
    assert refusals(soon) == 1


async def test_who_has_no_time_to_wait_is_refused_at_once_and_learns_why(late: Target) -> None:
    assert await get(late).code() is grpc.StatusCode.OK
    told = await ending(get(late))
    assert (told.code.name, reason_of(told.trailers).reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED")
    assert told.trailers["grpc-retry-pushback-ms"] == "-1"
    assert refusals(late) == 1


async def test_a_limit_that_waiting_would_not_change_is_not_tried_again(soon: Target) -> None:
    metadata = [(f"header-{number}", "x" * 1000) for number in range(20)]
    told = await ending(get(soon, metadata=metadata))
    assert (told.code.name, reason_of(told.trailers).reason) == ("RESOURCE_EXHAUSTED", "METADATA_TOO_LARGE")
    assert soon.calls == 1


async def test_any_other_method_is_made_again_by_the_helper_alone(soon: Target) -> None:
    assert (await soon.ask("Unary")).code is grpc.StatusCode.OK
    assert (await soon.ask("Unary")).code is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def call() -> Any:
        return await soon.call("Unary")

    with pytest.raises(grpc.aio.AioRpcError):
        await when_allowed(call, domain="another service", within_seconds=20)
    assert (await when_allowed(call, domain="probe", within_seconds=20)).text == "anything"
    assert soon.begun == 2
