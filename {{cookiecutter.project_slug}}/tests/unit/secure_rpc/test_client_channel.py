"""A channel goes on through new certificates, and no call notices."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.call import Call, Method, Patience, enter
from secure_rpc.dev.authority import Authority

from support.renewals import Renewals, ask, run_renewals, until

C = grpc.StatusCode


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Renewals]:
    async with run_renewals(tmp_path / "client") as running:
        yield running


# --- renewals that nobody notices --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["in place", "kubernetes"])
async def test_no_call_is_lost_in_five_renewals(world: Renewals, layout: str) -> None:
    put: Callable[[list[bytes]], None] = world.write if layout == "in place" else world.swap
    put(world.contents(world.issue("0")))
    channel = world.connect()
    unary, answered, stopping = ask(channel), 0, asyncio.Event()

    async def go_on_asking() -> None:
        nonlocal answered
        while not stopping.is_set():
            assert (await unary(b"")).isdigit()
            answered += 1

    asking = [asyncio.create_task(go_on_asking()) for _ in range(4)]
    open_calls: list[tuple[str, Any, Any, Any]] = []
    bidi, upload, download = (
        getattr(channel, kind)(f"/names/{kind}") for kind in ("stream_stream", "stream_unary", "unary_stream")
    )
    for number in range(5):
        calls = bidi(), upload(), download(b"")
        for call in calls[:2]:
            await call.write(b"")
        assert await calls[0].read() == await calls[2].read() == str(number).encode()
        open_calls.append((str(number), *calls))
        put(world.contents(world.issue(str(number + 1))))
        await until(unary, str(number + 1))
    for name, both, up, down in open_calls:
        await both.write(b"")
        assert await both.read() == name.encode()
        await both.done_writing()
        await up.write(b"")
        await up.done_writing()
        assert await up == f"{name} sent 2".encode()
        for _ in range(3):
            assert await down.read() == name.encode()
        down.cancel()
        assert await both.code() is C.OK
    stopping.set()
    await asyncio.gather(*asking)
    assert answered > 50


async def test_calls_that_outlast_the_grace_are_ended(world: Renewals) -> None:
    world.write(world.contents(world.issue("old")))
    channel = world.connect(renewal_grace_seconds=0.1)
    call: Any = channel.stream_stream("/names/stream_stream")()
    await call.write(b"")
    assert await call.read() == b"old"
    world.write(world.contents(world.issue("new")))
    async with asyncio.timeout(10):
        assert await call.code() is C.CANCELLED
    assert await ask(channel)(b"") == b"new"


async def test_a_channel_that_has_made_no_call_yet_takes_the_newest(world: Renewals) -> None:
    world.write(world.contents(world.issue("old")))
    channel = world.connect(poll_seconds=3600)
    unary = ask(channel)
    world.write(world.contents(world.issue("new")))
    await unary(b"")
    await until(unary, "new")


async def test_a_new_authority_is_trusted_and_an_old_one_no_more(world: Renewals) -> None:
    leaf, other = world.issue("client"), Authority.create("other CA").certificate_pem
    world.write(world.contents(leaf))
    channel = world.connect()
    assert await ask(channel)(b"") == b"client"
    world.write(world.contents(leaf, other))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await until(ask(channel), "nobody")
    assert caught.value.code() is C.UNAVAILABLE
    world.write(world.contents(leaf, other + world.authority.certificate_pem))
    async with asyncio.timeout(10):
        await channel.channel_ready()
    assert await ask(channel)(b"") == b"client"


async def test_who_waits_for_another_state_is_told_of_that_of_another_channel(world: Renewals) -> None:
    leaf = world.issue("client")
    world.write(world.contents(leaf))
    channel = world.connect()
    call: Any = channel.stream_stream("/names/stream_stream")()  # keeps the old one connected
    await call.write(b"")
    assert await call.read() == b"client"
    waiting = asyncio.create_task(channel.wait_for_state_change(grpc.ChannelConnectivity.READY))
    world.write(world.contents(leaf, Authority.create("other CA").certificate_pem))
    async with asyncio.timeout(10):
        await waiting
    await call.write(b"")
    assert await call.read() == b"client"


# --- a channel like any other ------------------------------------------------------------------------------------


async def test_its_state_is_that_of_the_newest(world: Renewals) -> None:
    states = grpc.ChannelConnectivity
    world.write(world.contents(world.issue("old")))
    async with world.connect() as channel:
        assert channel.get_state() is states.IDLE
        waiting = asyncio.create_task(channel.wait_for_state_change(states.IDLE))
        await channel.channel_ready()
        await waiting
        assert channel.get_state() is states.READY
        changed = asyncio.create_task(channel.wait_for_state_change(states.READY))
        world.write(world.contents(world.issue("new")))
        await until(ask(channel), "new")
        assert not changed.done()  # from one that is ready to another that is
    async with asyncio.timeout(10):
        await changed
    assert channel.get_state() is states.SHUTDOWN


async def test_closing_ends_the_calls_of_every_certificate_within_the_grace(world: Renewals) -> None:
    before = asyncio.all_tasks()
    world.write(world.contents(world.issue("old")))
    channel = world.connect()
    calls: list[Any] = []
    for name in ("old", "new"):
        world.write(world.contents(world.issue(name)))
        await until(ask(channel), name)
        calls.append(channel.stream_stream("/names/stream_stream")())
        await calls[-1].write(b"")
        assert await calls[-1].read() == name.encode()
    closing = asyncio.create_task(channel.close(0.2))
    await asyncio.sleep(0)
    for call in calls:
        await call.write(b"")
        await call.read()
    with pytest.raises(grpc.aio.UsageError):
        ask(channel)(b"")
    await closing
    assert [await call.code() for call in calls] == [C.CANCELLED, C.CANCELLED]
    await channel.close()
    assert [task.get_coro() for task in asyncio.all_tasks() - before if "secure_rpc" in str(task)] == []


async def test_a_channel_that_is_forgotten_lets_go_of_its_files(world: Renewals) -> None:
    before = asyncio.all_tasks()
    world.write(world.contents(world.issue("old")))
    unary = ask(world.connect())
    await unary(b"")
    forgotten = weakref.ref(world.channels.pop())
    del unary
    async with asyncio.timeout(10):
        while forgotten() or any("secure_rpc" in str(task) for task in asyncio.all_tasks() - before):
            gc.collect()
            await asyncio.sleep(0.005)


async def test_the_watch_does_not_hold_on_to_the_call_that_it_began_in(world: Renewals) -> None:
    world.write(world.contents(world.issue("old")))
    channel, contexts = world.connect(), [asyncio.Event()]  # anything that can be looked for

    async def serve() -> None:
        call = Call(Method("", Patience(1)), "", ())
        call.context = contexts[0]
        call.end()
        enter(call)
        await ask(channel)(b"")

    await asyncio.create_task(serve())
    gone = weakref.ref(contexts.pop())
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
