"""Methods that do not exist, under names that no one would think of."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from secure_rpc.serving import UNKNOWN_METHOD

from support.hostile_certificates import SOUND_ID
from support.target import Target, reason_of
from support.world import ending

pytestmark = pytest.mark.asyncio(loop_scope="module")
ATTACKS = 100
NAMES = (
    "/probe.v1.ProbeService/Nope",
    "/probe.v1.ProbeService/unary",
    "/probe.v1.ProbeService/Unary/",
    "//probe.v1.ProbeService/Unary",
    "/probe.v1.ProbeService//Unary",
    "/probe.v1.ProbeService/../ProbeService/Public",
    "/probe.v1.ProbeService/Public%20",
    "/probe.v1.ProbeService/Public?x",
    "/nobody.v1.Service/Public",
    "/x",
    "/",
    UNKNOWN_METHOD,
)
NOT_UTF8 = (
    b"/probe.v1.ProbeService/Public\xff",
    b"\xff\xfe",
    b"/a/B\xc0\x80",  # NUL, overlong
    b"/a/\xed\xa0\x80",  # a lone surrogate
    b"/" + bytes(range(0x80, 0x100)),
)


@pytest.mark.parametrize("name", NAMES)
async def test_an_unknown_method_answers_those_it_knows_and_nobody_else(target: Target, name: str) -> None:
    multi_callable: Any = target.channel.unary_unary(name)
    for token, code, subject in ((target.token(), "UNIMPLEMENTED", "alice"), ("", "UNAUTHENTICATED", "")):
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        told = await ending(multi_callable(b"", metadata=metadata, timeout=10))
        assert told.code.name == code
        record = await target.record_of(told)
        assert (record["code"], record["subject"], record["workload"]) == (code, subject, SOUND_ID)
        assert record["method"] == UNKNOWN_METHOD


async def test_an_unknown_method_counts_for_the_quota_and_is_no_label_of_a_metric(target: Target) -> None:
    names = [f"/hostile.v1.Service/Method{number}" for number in range(20)]
    for name in names:
        unknown: Any = target.channel.unary_unary(name)
        await ending(unknown(b"", timeout=10))
    text = target.service.server.platform.metrics.render().decode()
    assert "hostile" not in text
    assert 'grpc_method="other"' in text


async def test_paths_that_are_not_utf8_end_nothing_and_are_recorded(target: Target) -> None:
    bearer, codes, enough = f"Bearer {target.token()}".encode(), list[grpc.StatusCode](), asyncio.Event()

    async def good_caller() -> None:
        while not enough.is_set():
            codes.append((await target.ask("Unary")).code)

    caller = asyncio.create_task(good_caller())
    call_ids: dict[str, str] = {}
    paths = NOT_UTF8 * (ATTACKS // len(NOT_UTF8))
    for metadata, status, code in (
        ((), b"16", "UNAUTHENTICATED"),
        ([(b"authorization", bearer)], b"12", "UNIMPLEMENTED"),
    ):
        async with target.raw() as connection:
            streams = [await connection.call(path, metadata=metadata) for path in paths]
            for stream in streams:
                answer = await connection.answer(stream)
                assert answer["grpc-status"] == status
                call_ids[answer["correlation-id"].decode()] = code
    enough.set()
    await caller
    assert len(call_ids) == 2 * ATTACKS
    assert codes == [grpc.StatusCode.OK] * len(codes) != []
    records = {record["call_id"]: record for record in await target.service.audit_records()}
    assert {call_id: records[call_id]["code"] for call_id in call_ids} == call_ids
    assert {records[call_id]["method"] for call_id in call_ids} == {UNKNOWN_METHOD}


async def test_a_call_to_no_method_at_all_tells_nothing(target: Target) -> None:
    unknown: Any = target.channel.unary_unary("/probe.v1.ProbeService/Nope")
    told = await ending(unknown(b"", timeout=10))
    assert reason_of(told.trailers).reason == "TOKEN_MISSING"
    assert told.details == "a token is required"
