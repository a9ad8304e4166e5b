"""Who watches calls: in which order, what they are told, and what becomes of a call that one of them refuses."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method, Outcome, Patience
from secure_rpc.chain import Proceed
from secure_rpc.observing import CallRecord, NotedCall, Observer, observed
from secure_rpc.trace_context import Trace

from support.probe import SHAPES
from support.stages import Around
from support.world import Serve

METHOD = Method("/things.v1.Things/Get", Patience(1), request_streaming=False, response_streaming=False)
BEGAN = 1_800_000_000.5


class Context:
    """What gRPC knows of a call."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> None:
        return None


class Watcher:
    """Notes what it is told."""

    def __init__(self, name: str, heard: list[str], *, refuses: bool = False, breaks: bool = False) -> None:
        self.name, self.heard, self.refuses, self.breaks = name, heard, refuses, breaks
        self.records: list[CallRecord] = []

    def bind(self, _method: Method) -> Observer:
        return Observer(self.begin, self.end)

    def begin(self, _call: Call) -> None:
        self.heard.append(f"{self.name} begins")
        if self.refuses:
            raise errors.Unavailable(reason="NOT_NOW")

    def end(self, _call: Call, noted: NotedCall, outcome: Outcome) -> None:
        record = CallRecord(*noted)
        assert record.code == outcome.code.name
        self.records.append(record)
        self.heard.append(f"{self.name} ends {record.code}")
        if self.breaks:
            raise RuntimeError("no room left")


async def watched(*watchers: Watcher, fails: BaseException | None = None, trace: Trace | None = None) -> Call:
    call = Call(METHOD, METHOD.path, ())
    call.context, call.trace = Context(), trace

    async def serve(call: Call) -> None:
        call.tenant, call.noted_fields = "acme", [("title", "a book")]
        watchers[0].heard.append("served")
        if fails is not None:
            raise fails

    await observed(METHOD, [each.bind(METHOD) for each in watchers], lambda: BEGAN)(call, serve)
    return call


async def test_the_outermost_begins_first_and_ends_last() -> None:
    heard: list[str] = []
    await watched(Watcher("one", heard), Watcher("two", heard))
    assert heard == ["one begins", "two begins", "served", "two ends OK", "one ends OK"]


async def test_all_are_told_the_same_of_a_call() -> None:
    one, two = Watcher("one", []), Watcher("two", [])
    call = await watched(one, two)
    [record] = one.records
    assert two.records == [record]
    assert record[:2] == (BEGAN, call.id)
    assert (record.method, record.kind, record.tenant, record.peer) == (METHOD.path, "unary", "acme", call.address)
    assert (record.code, record.reason, record.fields, record.trace_id) == ("OK", "", [("title", "a book")], "")
    assert 0 <= record.duration_seconds < 10


@pytest.mark.parametrize(
    ("fails", "code", "reason"),
    [
        (errors.NotFound(reason="NO_SUCH_THING"), "NOT_FOUND", "NO_SUCH_THING"),
        (RuntimeError("a fault"), "INTERNAL", ""),
        (asyncio.CancelledError(), "CANCELLED", ""),
    ],
)
async def test_a_call_that_fails_is_told_of_as_it_ended(fails: BaseException, code: str, reason: str) -> None:
    watcher = Watcher("one", [])
    with pytest.raises(type(fails)):
        await watched(watcher, fails=fails)
    assert [(record.code, record.reason) for record in watcher.records] == [(code, reason)]


async def test_who_refuses_a_call_is_told_of_it_too_and_nobody_serves_it() -> None:
    heard: list[str] = []
    one, two = Watcher("one", heard), Watcher("two", heard, refuses=True)
    with pytest.raises(errors.Unavailable):
        await watched(one, two)
    assert heard == ["one begins", "two begins", "two ends UNAVAILABLE", "one ends UNAVAILABLE"]
    assert [record.reason for record in one.records + two.records] == ["NOT_NOW"] * 2


async def test_what_one_of_them_fails_with_is_what_the_call_ends_with_for_those_further_out() -> None:
    heard: list[str] = []
    one, two = Watcher("one", heard), Watcher("two", heard, breaks=True)
    with pytest.raises(RuntimeError, match="no room left"):
        await watched(one, two)
    assert heard[-2:] == ["two ends OK", "one ends INTERNAL"]


async def test_a_trace_is_named_where_anybody_has_heard_of_it_and_of_refused_calls_always() -> None:
    unheard, handed_on, refused = Trace(), Trace(), Trace()
    name = handed_on.headers()[0][1].split("-")[1]
    watcher = Watcher("one", [])
    await watched(watcher, trace=unheard)
    await watched(watcher, trace=handed_on)
    with pytest.raises(errors.NotFound):
        await watched(watcher, fails=errors.NotFound(), trace=refused)
    assert [record.trace_id for record in watcher.records] == ["", name, refused.trace_id]


@pytest.mark.parametrize("shape", SHAPES)
async def test_neighbours_in_a_chain_share_a_look_and_others_have_their_own(serve: Serve, shape: str) -> None:
    heard: list[str] = []
    noted: dict[str, NotedCall] = {}

    class Sharing(Watcher):
        def end(self, _call: Call, told: NotedCall, _outcome: Outcome) -> None:
            noted[self.name] = told

    async def between(call: Call, proceed: Proceed) -> None:
        heard.append("between")
        await proceed(call)

    stages = [Sharing("one", heard), Sharing("two", heard), Around(between), Sharing("three", heard)]
    async with serve(outermost=stages) as world:
        assert (await world.ask(shape, "x")).code is grpc.StatusCode.OK
        await world.record()
    assert heard == ["one begins", "two begins", "between", "three begins"]
    assert noted["one"] is noted["two"]
    assert noted["three"] is not noted["two"]
