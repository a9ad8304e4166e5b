"""More calls than anybody is owed: refused with word when to come again, and no longer than they last."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support import http2
from support.probe import path_of
from support.target import KINDS, Target, reason_of, run_target
from support.world import Ending, ending

CALLS = 3
TAKEN_BACK = 5000  # by each connection of a rapid reset
CANCEL = 8  # RFC 9113, section 7


def detail_of(told: Ending, kind: type[Any]) -> Any:
    [detail] = [detail for detail in reason_of(told.trailers).details if isinstance(detail, kind)]
    return detail


async def is_refused(target: Target, told: Ending, reason: str) -> bool:
    """Tell whether a call was refused so, with word when to come again, and recorded."""
    assert (told.code.name, reason_of(told.trailers).reason) == ("RESOURCE_EXHAUSTED", reason)
    assert detail_of(told, error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds() > 0
    return bool((await target.record_of(told))["reason"] == reason)


@pytest.mark.parametrize("shape", KINDS)
async def test_calls_past_the_quota_are_refused_and_others_are_not(
    application: Application, tmp_path: Path, shape: str
) -> None:
    quotas = {"default": {"calls": CALLS, "period_seconds": 600}}
    async with run_target(application, tmp_path, {"quotas": quotas}) as target:
        for _ in range(CALLS):
            assert (await target.ask(shape)).code.name == "OK"
        for token in (target.token(), target.token()):  # two different ones of the same caller
            told = await target.knock(shape, authorization=f"Bearer {token}")
            assert await is_refused(target, told, "QUOTA_EXHAUSTED")
            retry = detail_of(told, error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds()
            assert 600 / CALLS - 10 < retry <= 600 / CALLS
            [violation] = detail_of(told, error_details_pb2.QuotaFailure).violations
            assert (violation.subject, violation.description) == ("quota-class:default", f"{CALLS} calls in 600 s")
        unknown: Any = target.channel.unary_unary("/probe.v1.ProbeService/Nope")
        metadata = (("authorization", f"Bearer {target.token()}"),)
        assert await is_refused(target, await ending(unknown(b"", metadata=metadata, timeout=10)), "QUOTA_EXHAUSTED")
        assert (await target.ask(shape, authorization=f"Bearer {target.token('bob')}")).code.name == "OK"
        assert (await target.ask("Public")).code.name == "OK"
        assert target.begun == CALLS + 2


async def test_calls_of_those_who_are_nobody_cost_nobody_any_quota(application: Application, tmp_path: Path) -> None:
    quotas = {"default": {"calls": CALLS, "period_seconds": 600}}
    async with run_target(application, tmp_path, {"quotas": quotas}) as target:
        forged = target.token()[:-4] + "AAAA"
        for authorization in ("", f"Bearer {forged}", f"Bearer {target.token('mallory')}"):
            for _ in range(2 * CALLS):
                told = await target.ask("Unary", authorization=authorization)
                assert told.code.name in {"UNAUTHENTICATED", "PERMISSION_DENIED"}
        assert await target.is_served()


@pytest.mark.parametrize(
    ("limit", "reason"), [("max_concurrent_calls", "LOAD_LIMIT"), ("max_concurrent_calls_per_peer", "PEER_LIMIT")]
)
@pytest.mark.parametrize("identified", [True, False], ids=["known", "unknown"])
async def test_too_many_calls_at_once_are_refused_until_there_are_fewer(
    application: Application, tmp_path: Path, limit: str, reason: str, *, identified: bool
) -> None:
    overrides = {"load": {limit: CALLS, "fair_share_above": 1.0, "refusal_delay_seconds": 0.0}}
    async with run_target(application, tmp_path, overrides) as target, AsyncExitStack() as stack:
        held = []
        for _ in range(CALLS):
            call = target.call("Bidi", open_=True)
            stack.callback(call.cancel)
            await call.write(pb.Ask(act="anything"))
            await call.read()
            held.append(call)
        for _ in range(2 * CALLS):
            told = await target.ask("Unary", authorization=None if identified else "")
            assert await is_refused(target, told, reason)
            assert int(told.trailers["grpc-retry-pushback-ms"]) > 0
            assert (await target.record_of(told))["subject"] == ""  # refused before anybody was identified
        await held[0].done_writing()
        assert (await ending(held[0])).code.name == "OK"
        assert await target.is_served()


async def test_a_peer_that_floods_is_refused_and_a_caller_from_elsewhere_is_always_served(
    application: Application, tmp_path: Path
) -> None:
    """The flood asks again at once, whatever it is told; half of what it gets it never finishes."""
    load = {"max_concurrent_calls": 2 * CALLS, "max_concurrent_calls_per_peer": 2 * CALLS, "adaptive": False}
    overrides = {"load": {**load, "fair_share_above": 0.5, "refusal_delay_seconds": 0.01}}
    async with run_target(application, tmp_path, overrides) as target, target.raw(from_address="127.0.0.2") as flood:
        headers = [(b"authorization", f"Bearer {target.token()}".encode())]

        async def ask() -> None:
            await flood.call(b"/probe.v1.ProbeService/Unary", None, headers)

        for _ in range(5 * CALLS):
            await ask()
        for _ in range(20 * CALLS):
            assert (await flood.next_answer())["grpc-status"] == b"8"
            await ask()
            assert await target.is_served()
        records = await target.service.audit_records()
        refused = [record for record in records if record["reason"] == "LOAD_SHED"]
        assert len(refused) >= 20 * CALLS
        assert {record["peer"].rpartition(":")[0] for record in refused} == {"ipv4:127.0.0.2"}
        assert {record["subject"] for record in refused} == {""}
        assert target.service.metric("secure_rpc_load_refusals_total", reason="LOAD_SHED") >= 20 * CALLS
        assert target.service.metric("secure_rpc_load_refusals_total", reason="LOAD_LIMIT") == 0


async def test_health_is_told_while_a_flood_holds_all_there_is(application: Application, tmp_path: Path) -> None:
    overrides = {"load": {"max_concurrent_calls": CALLS, "fair_share_above": 1.0, "refusal_delay_seconds": 0.0}}
    async with run_target(application, tmp_path, overrides) as target, target.raw(from_address="127.0.0.2") as flood:
        headers = [(b"authorization", f"Bearer {target.token()}".encode())]
        for _ in range(CALLS + 1):
            await flood.call(b"/probe.v1.ProbeService/Unary", None, headers)
        await flood.next_answer()  # one too many
        assert (await target.ask("Unary")).code.name == "RESOURCE_EXHAUSTED"
        health: Any = health_pb2_grpc.HealthStub(target.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


async def test_calls_that_are_taken_back_at_once_are_each_recorded_and_a_good_caller_is_always_served(
    application: Application, tmp_path: Path
) -> None:
    """Rapid reset (CVE-2023-44487): a stream that is reset does not count among those that may be open."""
    async with run_target(application, tmp_path) as target:
        metadata = [(b"authorization", f"Bearer {target.token()}".encode())]

        async def attack() -> None:
            async with target.raw(from_address="127.0.0.2") as connection:
                with suppress(ConnectionError):  # gRPC may have enough of it
                    for number in range(TAKEN_BACK):
                        stream = await connection.call(path_of("Unary").encode(), metadata=metadata)
                        await connection.send(http2.frame(http2.Kind.RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big")))
                        if number % 50 == 0:
                            await asyncio.sleep(0)

        attacks = asyncio.gather(*(attack() for _ in range(3)))
        while not attacks.done():
            assert await target.is_served()
        await attacks
        chain = target.service.server.chain
        async with asyncio.timeout(20):
            while chain.under_way:  # noqa: ASYNC110  # a chain tells nobody when it has no calls
                await asyncio.sleep(0.01)
        assert await target.is_served()
        records = [each for each in await target.service.audit_records() if each["event"] == "call"]
        assert len(records) == chain.taken_up == chain.ended
        assert Counter(each["code"] for each in records)["CANCELLED"] > 0
