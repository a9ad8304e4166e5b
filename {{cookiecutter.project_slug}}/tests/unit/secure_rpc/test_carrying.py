"""What gRPC is asked for beside a call: little where it is over soon, and nobody can tell from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc

from secure_rpc.call import Call
from secure_rpc.carrying import SHORT_SECONDS
from secure_rpc.chain import CORRELATION_ID_KEY, Proceed

from probe.v1 import probe_pb2 as pb
from support import http2
from support.acts import ACTS, perform
from support.probe import Servicer, path_of
from support.stages import Around
from support.world import World, ending

C = grpc.StatusCode
NEVER: Any = None
LONG_SECONDS = 3 * SHORT_SECONDS
ENDING_ACTS = [name for name in ACTS if name.startswith(("abort", "answer", "raise", "send", "set"))]
CANCEL = (8).to_bytes(4, "big")


class Long(Servicer):
    """Does what is asked at once, or so late that its client is watched by then."""

    async def perform(self, ask: pb.Ask, context: Any) -> Any:
        if ask.name == "long":
            await asyncio.sleep(LONG_SECONDS)
        return await perform(ask, context)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that gets longer with each call whose client is watched."""
    seen: list[object] = []
    watch = cygrpc._handle_cancellation_from_core

    def note(*arguments: Any) -> Any:
        seen.append(None)
        return watch(*arguments)

    monkeypatch.setattr(cygrpc, "_handle_cancellation_from_core", note)
    return seen


@pytest.mark.parametrize("act", ["", "héllo", *ENDING_ACTS])
async def test_a_call_that_is_over_soon_ends_as_one_that_lasts(act: str) -> None:
    async with World(servicer=Long()) as world:
        found = []
        for name in ("", "long"):
            call = world.call("Unary", pb.Ask(act=act, name=name))
            initial = await call.initial_metadata()
            told = await ending(call)
            told.trailers.pop(CORRELATION_ID_KEY, None)
            found.append((told, dict(initial or ())))
        assert found[0] == found[1]
        outcomes = [(record.outcome.code, record.outcome.reason) for record in await world.settled(2)]
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("act", ["", "raise_a_status"])
async def test_its_frames_are_the_same_too(act: str) -> None:
    async with World(servicer=Long()) as world, http2.connect(world.port) as connection:
        found = []
        for name in ("", "long"):
            body = pb.Ask(act=act, name=name).SerializeToString()
            stream = await connection.call(path_of("Unary").encode(), body, [(b"authorization", b"alice")])
            frames: list[tuple[int, int]] = []
            async with asyncio.timeout(5):
                while not frames or not frames[-1][1] & http2.END_STREAM:
                    received = await connection.receive()
                    if received.stream == stream:
                        frames.append((received.kind, received.flags))
            found.append(frames)
        assert found[0] == found[1]
        assert {kind for kind, _ in found[0]} <= {http2.Kind.HEADERS, http2.Kind.DATA}  # none is reset
        await world.settled(2)


@pytest.mark.parametrize(
    ("shape", "name", "timeout_seconds", "expected"),
    [
        ("Unary", "", NEVER, 0),
        ("Unary", "", 10, 0),
        ("Unary", "", 1.5 * SHORT_SECONDS, 1),  # it would be over before anybody looked
        ("Unary", "long", NEVER, 1),
        ("ServerStream", "", NEVER, 1),
        ("Bidi", "", NEVER, 1),
    ],
)
async def test_a_client_is_watched_where_the_call_may_last(
    watched: list[object], shape: str, name: str, timeout_seconds: float, expected: int
) -> None:
    async with World(servicer=Long()) as world:
        await ending(world.call(shape, pb.Ask(name=name), timeout_seconds=timeout_seconds))
        await world.settled(1)
        await asyncio.sleep(LONG_SECONDS)  # in which nobody looks for the client of a call that is over
    assert len(watched) == expected


@pytest.mark.parametrize("what", ["metadata", "compression", "no compression"])
async def test_what_changes_a_reply_on_the_wire_does_so_in_a_short_call(watched: list[object], what: str) -> None:
    class Changing(Servicer):
        async def perform(self, _ask: pb.Ask, context: Any) -> pb.Answer:
            if what == "metadata":
                await context.send_initial_metadata((("x-early", "yes"),))
            elif what == "compression":
                context.set_compression(grpc.Compression.Gzip)
                await context.send_initial_metadata(())  # without which gRPC forgets it
            else:
                context.disable_next_message_compression()
            return pb.Answer(text="x" * 1000)

    async with World(servicer=Changing()) as world, http2.connect(world.port) as connection:
        metadata = [(b"authorization", b"alice"), (b"grpc-accept-encoding", b"gzip")]
        stream = await connection.call(path_of("Unary").encode(), metadata=metadata)
        answer = await connection.answer(stream)
        assert answer["grpc-status"] == b"0"
        assert (answer.get("x-early") == b"yes") is (what == "metadata")
        assert (answer.get("grpc-encoding") == b"gzip") is (what == "compression")
        await world.settled(1)
    assert len(watched) == 1


@pytest.mark.parametrize("act", ["", "raise_a_status"])
async def test_a_stage_that_sends_metadata_by_gRPCs_own_context_spoils_no_call(act: str) -> None:
    """To tell gRPC to send it again is an error that only it hears of: the call would never end."""

    async def greet(call: Call, proceed: Proceed) -> None:
        await call.context.send_initial_metadata((("x-early", "yes"),))
        await proceed(call)

    async with World(between=[Around(greet)]) as world:
        call = world.call("Unary", pb.Ask(act=act))
        assert dict(await call.initial_metadata()) == {"x-early": "yes"}
        assert (await ending(call)).code is (C.NOT_FOUND if act else C.OK)
        await world.settled(1)


@pytest.mark.parametrize("way", ["abort", "write"])
async def test_nor_does_one_that_answers_so(watched: list[object], way: str) -> None:
    async def answer(call: Call, proceed: Proceed) -> None:
        if way == "abort":
            await call.context.abort(C.ABORTED, "by the stage")
        await call.context.write(pb.Answer(text="by the stage").SerializeToString())
        await proceed(call)

    async with World(between=[Around(answer)]) as world:
        for _ in range(3):
            told = await ending(world.call("Unary", pb.Ask(), timeout_seconds=0.3))
            assert told.code is (C.ABORTED if way == "abort" else C.DEADLINE_EXCEEDED)  # two replies are no reply
        await world.settled(3)
    assert len(watched) == 3


async def test_a_client_that_resets_the_call_before_its_message_was_no_careless_client() -> None:
    async with World() as world, http2.connect(world.port) as connection:
        stream = await connection.call(path_of("Unary").encode(), None, [(b"authorization", b"alice")])
        await connection.send(http2.frame(http2.Kind.RST_STREAM, 0, stream, CANCEL))
        assert (await world.record()).outcome.code is C.CANCELLED


async def test_a_context_that_is_kept_says_that_its_call_is_over() -> None:
    kept: list[Any] = []

    class Keeping(Servicer):
        async def perform(self, _ask: pb.Ask, context: Any) -> pb.Answer:
            kept.append(context)
            return pb.Answer()

    async with World(servicer=Keeping()) as world:
        await world.ask("Unary", "")
        await world.settled(1)
        await asyncio.sleep(LONG_SECONDS)
        for name in ("peer", "time_remaining", "set_code", "auth_context"):
            with pytest.raises(grpc.aio.UsageError, match=f"the call is over: too late for its {name}"):
                getattr(kept[0], name)()


async def test_who_asked_to_be_told_of_the_end_is_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    told: list[object] = []

    class Asking(Servicer):
        async def perform(self, ask: pb.Ask, context: Any) -> Any:
            context.add_done_callback(lambda _context: told[0])  # an IndexError
            context.add_done_callback(lambda ended: told.append(ended is context))
            return await perform(ask, context)

    async with World(servicer=Asking()) as world:
        assert (await world.ask("Unary", "")).code is C.OK
        assert (await world.ask("Unary", "raise_a_status")).code is C.NOT_FOUND
        await world.settled(2)
    assert told == [True, True]
    assert caplog.text.count("who was to be told of the end failed") == 1


async def test_one_who_fails_to_be_told_keeps_no_other_from_it() -> None:
    """A count of calls that is not taken back would let nobody in, in the end."""
    told: list[str] = []

    async def count(call: Call, proceed: Proceed) -> None:
        call.when_over(lambda _call: told[99])  # type: ignore[arg-type]  # an IndexError
        call.when_over(lambda ended: told.append(ended.path))
        await proceed(call)

    async with World(between=[Around(count)]) as world:
        assert (await world.ask("Unary", "")).code is C.OK
        await world.settled(1)
        assert (told, world.chain.under_way) == ([path_of("Unary")], 0)
