"""Messages that are malformed, too large, or larger than they look; and answers that would be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.errors import STATUS_DETAILS_KEY
from secure_rpc.platform import Application
from secure_rpc.v1.access_pb2 import Access

from probe.v1 import probe_pb2 as pb
from support import hostile_protos, http2
from support.probe import STREAMS_IN, STREAMS_OUT, Servicer, path_of
from support.target import KINDS, Target, reason_of, run_target
from support.world import Ending, ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 4_194_304  # of the settings, which the target leaves as it is
OVERHEAD = pb.Ask(act="x" * 4_000_000).ByteSize() - 4_000_000
MALFORMED = {
    "a field that never ends": b"\x0a\xff\xff\xff\xff\x7f",
    "a tag of zero": b"\x00",
    "a wire type that is none": b"\x0f",
    "a varint of eleven bytes": b"\x10" + b"\xff" * 11,
    "text that is not UTF-8": b"\x0a\x01\xff",
    "groups within groups": b"\x0b" * 10_000,
}


async def send(target: Target, shape: str, body: bytes, authorization: str | None = None) -> Ending:
    """Call with a body as it is."""
    kind = ("stream_" if shape in STREAMS_IN else "unary_") + ("stream" if shape in STREAMS_OUT else "unary")
    request: Any = [body] if shape in STREAMS_IN else body
    bearer = f"Bearer {target.token()}" if authorization is None else authorization
    metadata = (("authorization", bearer),) if bearer else ()
    return await ending(getattr(target.channel, kind)(path_of(shape))(request, metadata=metadata, timeout=20))


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_message_is_parsed_only_for_those_who_are_known(target: Target, body: bytes) -> None:
    for shape in KINDS:
        begun = target.begun
        for authorization, code, reason in (
            (None, "INVALID_ARGUMENT", "REQUEST_MALFORMED"),
            ("", "UNAUTHENTICATED", "TOKEN_MISSING"),
        ):
            told = await send(target, shape, body, authorization)
            assert (told.code.name, reason_of(told.trailers).reason) == (code, reason)
            record = await target.record_of(told)
            assert (record["code"], record["reason"]) == (code, reason)
        assert told.details == "a token is required"
        assert target.begun == begun


@pytest.mark.parametrize("shape", KINDS)
@pytest.mark.parametrize("over", [1, 1000, LIMIT - 1000], ids=["a byte", "a little", "nearly twice"])
async def test_a_message_over_the_limit_is_refused_by_us_and_recorded(target: Target, shape: str, over: int) -> None:
    begun = target.begun
    told = await target.ask(shape, pb.Ask(act="x" * (LIMIT - OVERHEAD + over)))
    assert (told.code.name, told.details) == ("RESOURCE_EXHAUSTED", f"a request may have {LIMIT} bytes")
    assert reason_of(told.trailers).reason == "REQUEST_TOO_LARGE"
    assert (await target.record_of(told))["reason"] == "REQUEST_TOO_LARGE"
    assert target.begun == begun


async def test_a_message_just_within_the_limit_is_taken(target: Target) -> None:
    assert (await target.ask("Unary", pb.Ask(act="x" * (LIMIT - OVERHEAD)))).code.name == "OK"


@pytest.mark.parametrize("shape", KINDS)
async def test_a_message_far_over_the_limit_is_refused_by_grpc_and_recorded_as_one_that_never_came(
    target: Target, shape: str
) -> None:
    begun = target.begun
    target.forget()
    told = await target.ask(shape, pb.Ask(act="x" * 2 * LIMIT))
    assert told.code.name == "RESOURCE_EXHAUSTED"
    record = await target.next_record()
    assert (record["code"], record["subject"]) == ("CANCELLED", "alice")
    assert target.begun == begun


@pytest.mark.parametrize("shape", KINDS)
async def test_a_message_that_is_small_on_the_wire_and_large_once_decompressed_is_refused(
    target: Target, shape: str
) -> None:
    for size, code in ((LIMIT + 1, "RESOURCE_EXHAUSTED"), (8 * LIMIT, "CANCELLED")):  # ours, gRPC's
        begun = target.begun
        target.forget()
        told = await target.ask(shape, pb.Ask(act="x" * size), compression=grpc.Compression.Gzip)
        assert (told.code.name, target.begun) == ("RESOURCE_EXHAUSTED", begun)
        assert (await target.next_record())["code"] == code


@pytest.mark.parametrize(("shape", "identified"), [("Unary", False), ("Bidi", False), ("Unary", True)])
async def test_an_announced_gigabyte_is_not_waited_for(target: Target, shape: str, *, identified: bool) -> None:
    bearer = f"Bearer {target.token()}".encode()
    begun = target.begun
    async with target.raw() as connection:
        metadata = [(b"authorization", bearer)] if identified else []
        stream = await connection.call(path_of(shape).encode(), body=None, metadata=metadata)
        await connection.send(http2.frame(http2.Kind.DATA, 0, stream, b"\0" + (10**9).to_bytes(4, "big")))
        answer = await connection.answer(stream) if not identified else {}
        assert answer.get("grpc-status") == (b"16" if not identified else None)
        assert await target.is_served()
    assert target.begun == begun + 1  # the good caller's


async def test_a_contract_has_the_last_word_on_the_size_of_requests(application: Application, tmp_path: Path) -> None:
    wide, narrow = (
        hostile_protos.service_with_access(Access(permissions=["probe.call"], max_request_bytes=size))
        for size in (1000, 10)
    )
    settings, add = {"limits": {"max_request_bytes": 100}}, [wide.adding(), narrow.adding()]
    async with run_target(application, tmp_path, settings, add=add) as target:
        for service, fits, does_not in ((wide, 900, 1001), (narrow, 5, 11)):
            ask: Any = target.channel.unary_unary(service.path, service.request.SerializeToString)
            metadata = (("authorization", f"Bearer {target.token()}"),)
            assert (await ending(ask(service.request(act="x" * fits), metadata=metadata))).code.name == "OK"
            told = await ending(ask(service.request(act="x" * does_not), metadata=metadata))
            assert reason_of(told.trailers).reason == "REQUEST_TOO_LARGE"


class Large(Servicer):
    """Answers with as many bytes as asked for."""

    async def perform(self, ask: pb.Ask, _context: Any) -> pb.Answer:
        return pb.Answer(padding=bytes(int(ask.act)))


@pytest.mark.parametrize("shape", KINDS)
async def test_an_answer_made_too_large_is_refused_and_recorded_as_such(
    application: Application, tmp_path: Path, shape: str
) -> None:
    limits = {"max_response_bytes": 1000}
    async with run_target(application, tmp_path, {"limits": limits}, servicer=Large()) as target:
        assert (await target.ask(shape, pb.Ask(act="900"))).code.name == "OK"
        for size in ("1000", "1000000"):
            told = await target.ask(shape, pb.Ask(act=size))
            assert (told.code.name, told.messages) == ("RESOURCE_EXHAUSTED", [])
            assert (await target.record_of(told))["reason"] == "RESPONSE_TOO_LARGE"


def violations_of(told: Ending) -> Sequence[Any]:
    [bad_request] = [detail for detail in reason_of(told.trailers).details if hasattr(detail, "field_violations")]
    violations: Sequence[Any] = bad_request.field_violations
    return violations


@pytest.mark.parametrize("shape", KINDS)
async def test_a_message_that_breaks_a_rule_is_refused_and_not_echoed(target: Target, shape: str) -> None:
    begun, text = target.begun, "<script>" * 10
    told = await target.ask(shape, pb.Ask(act="anything", name=text))
    assert (told.code.name, reason_of(told.trailers).reason) == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    assert [violation.field for violation in violations_of(told)] == ["name"]
    assert "script" not in told.details
    assert b"script" not in told.trailers[STATUS_DETAILS_KEY]
    assert (await target.record_of(told))["reason"] == "REQUEST_INVALID"
    assert target.begun == begun
