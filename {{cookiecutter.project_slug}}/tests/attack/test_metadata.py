"""Metadata without measure, and headers that nothing follows."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from secure_rpc.platform import Application

from support import http2
from support.probe import path_of
from support.target import KINDS, Target, reason_of, run_target

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 16_384  # of the settings, which the target leaves as it is
STREAMS = 100  # of one connection, likewise
FRAME = 16_384  # the most that a frame may carry
CONNECTIONS = 20


def too_large(size: int) -> list[tuple[bytes, bytes]]:
    """Return metadata of about that size, in entries that no table of headers shortens."""
    return [(f"x-{number}".encode(), str(number).rjust(950, "x").encode()) for number in range(size // 1000)]


@pytest.mark.parametrize("shape", [*KINDS, "Public"])
async def test_metadata_over_the_limit_are_refused_by_us_and_recorded(target: Target, shape: str) -> None:
    for size in (LIMIT - 500, LIMIT + 1, 3 * LIMIT):
        begun = target.begun
        told = await target.knock(shape, metadata=[("x-large", "x" * size)])
        assert (told.code.name, told.details) == ("RESOURCE_EXHAUSTED", f"metadata may have {LIMIT} bytes")
        assert reason_of(told.trailers).reason == "METADATA_TOO_LARGE"
        assert (await target.record_of(told))["reason"] == "METADATA_TOO_LARGE"
        assert target.begun == begun


async def test_metadata_far_over_the_limit_are_refused_by_grpc(target: Target) -> None:
    begun = target.begun
    for size in (5 * LIMIT, 50 * LIMIT):
        assert (await target.ask("Unary", metadata=[("x-large", "x" * size)])).code.name == "RESOURCE_EXHAUSTED"
    assert target.begun == begun


async def test_metadata_sent_before_the_servers_settings_are_acknowledged_are_refused_and_recorded(
    target: Target,
) -> None:
    begun = target.begun
    target.forget()
    async with target.raw(acknowledge=False) as connection:
        stream = connection.stream()
        headers = [*http2.request_headers(path_of("Unary").encode()), *too_large(200_000)]
        block = connection.encode([*headers, (b"authorization", f"Bearer {target.token()}".encode())])
        parts = [block[start : start + FRAME] for start in range(0, len(block), FRAME)]
        kinds = [http2.Kind.HEADERS] + [http2.Kind.CONTINUATION] * (len(parts) - 1)
        flags = [0] * (len(parts) - 1) + [http2.END_HEADERS]
        frames = [http2.frame(kind, flag, stream, part) for kind, flag, part in zip(kinds, flags, parts, strict=True)]
        await connection.send(*frames, http2.frame(http2.Kind.DATA, http2.END_STREAM, stream, http2.message(b"")))
        answer = await connection.answer(stream)
    assert len(parts) > 5
    assert answer["grpc-status"] == b"8"
    # not by its correlation id: gRPC's core ends such a call, too, and on a busy machine now and then before us
    assert (await target.next_record())["reason"] == "METADATA_TOO_LARGE"
    assert target.begun == begun


async def test_headers_that_nothing_follows_are_all_answered_while_others_are_served(
    application: Application, tmp_path: Path
) -> None:
    overrides = {
        "limits": {"request_timeout_seconds": 5},  # far more than a busy machine takes for the good caller
        "load": {"max_concurrent_calls": 5000, "max_concurrent_calls_per_peer": 5000},
    }
    codes: Counter[bytes] = Counter()
    async with run_target(application, tmp_path, overrides) as target, AsyncExitStack() as stack:
        metadata = [(b"authorization", f"Bearer {target.token()}".encode())]

        async def attack(connection: http2.Connection) -> None:
            streams = [await connection.call(path_of("Unary").encode(), None, metadata) for _ in range(STREAMS)]
            codes.update([(await connection.answer(stream))["grpc-status"] for stream in streams])

        connections = [await stack.enter_async_context(target.raw()) for _ in range(CONNECTIONS)]
        attacks = asyncio.gather(*map(attack, connections))
        while not attacks.done():
            assert await target.is_served()
        await attacks
        assert codes == {b"4": CONNECTIONS * STREAMS}
        assert target.begun == target.calls - CONNECTIONS * STREAMS  # the good caller's
        reasons = Counter(record["reason"] for record in await target.service.audit_records())
        assert reasons["REQUEST_TIMEOUT"] == CONNECTIONS * STREAMS


async def test_more_streams_than_a_connection_may_have_are_cut_off_before_they_reach_anything(target: Target) -> None:
    before = target.calls
    async with target.raw(acknowledge=False) as connection:
        metadata = [(b"authorization", f"Bearer {target.token()}".encode())]
        streams = [await connection.call(path_of("Bidi").encode(), None, metadata) for _ in range(3 * STREAMS)]
        for stream in streams[STREAMS:]:
            assert "reset" in await connection.answer(stream)
        assert await target.is_served()
        assert before < target.calls <= before + STREAMS + 1  # the good caller's
