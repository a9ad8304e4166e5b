"""A channel goes on through new certificates, and no call notices; what is no good is not taken up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from secure_rpc import client_channel
from secure_rpc.call import Call, Method, Patience, enter
from secure_rpc.client import connect
from secure_rpc.dev.authority import Authority, Leaf, Request, client_request, server_request

C = grpc.StatusCode
POLL_SECONDS = 0.01
FILES = ("client.pem", "client.key", "ca.pem")


class Names(grpc.GenericRpcHandler):
    """Answers every call with the name in the certificate that it came with; streams do so for each message."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        kind = details.method.rpartition("/")[2]
        return getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, kind))

    @staticmethod
    def name(context: Any) -> bytes:
        [pem] = context.auth_context()["x509_pem_cert"]
        certificate = x509.load_pem_x509_certificate(pem)
        return certificate.subject.rfc4514_string().removeprefix("CN=").encode()

    async def unary_unary(self, _request: bytes, context: Any) -> bytes:
        return self.name(context)

    async def unary_stream(self, _request: bytes, context: Any) -> AsyncIterator[bytes]:
        while True:
            yield self.name(context)
            await asyncio.sleep(0.005)

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        number = len([request async for request in requests])
        return self.name(context) + b" sent %d" % number

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield self.name(context)


@dataclass
class World:
    """A server, and a client whose files change."""

    folder: Path
    authority: Authority = field(default_factory=lambda: Authority.create("test CA"))
    port: int = 0
    versions: int = 0
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = [self.folder / name for name in FILES]

    def issue(self, name: str, **said: Any) -> Leaf:
        return self.authority.issue(Request(name, **said))

    def contents(self, leaf: Leaf, ca_pem: bytes = b"") -> list[bytes]:
        return [leaf.certificate_pem, leaf.key_pem, ca_pem or self.authority.certificate_pem]

    def write(self, contents: list[bytes]) -> None:
        """Write each file in place, the key last."""
        for file, content in zip(self.files, contents, strict=True):
            file.write_bytes(content)

    def swap(self, contents: list[bytes]) -> None:
        """Put all files in place at once, as the kubelet does."""
        self.versions += 1
        version = self.folder / f"..{self.versions}"
        version.mkdir()
        for name, content in zip(FILES, contents, strict=True):
            (version / name).write_bytes(content)
        (self.folder / "..new").symlink_to(version.name)
        (self.folder / "..new").replace(self.folder / "..data")
        for file in self.files:
            if not file.is_symlink():
                file.symlink_to(Path("..data", file.name))

    def connect(self, **said: Any) -> grpc.aio.Channel:
        certificate, key, ca = self.files
        channel = connect(
            f"localhost:{self.port}",
            certificate_file=certificate,
            key_file=key,
            ca_file=ca,
            **({"poll_seconds": POLL_SECONDS} | said),
        )
        self.channels.append(channel)
        return channel


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made, server = World(tmp_path / "client"), grpc.aio.server()
    made.folder.mkdir()
    server.add_generic_rpc_handlers((Names(),))
    leaf = made.authority.issue(server_request("server", "test"))
    credentials = grpc.ssl_server_credentials(
        [(leaf.key_pem, leaf.certificate_pem)], made.authority.certificate_pem, require_client_auth=True
    )
    made.port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    yield made
    for channel in made.channels:
        await channel.close()
    await server.stop(None)


def ask(channel: grpc.aio.Channel) -> Any:
    """Return what asks the server for the name that the channel's certificate has."""
    return channel.unary_unary("/names/unary_unary")


async def until(ask_for: Any, name: str) -> None:
    """Wait until calls are made with the certificate of that name."""
    async with asyncio.timeout(10):
        while await ask_for(b"") != name.encode():  # noqa: ASYNC110  # there is nothing else that would tell
            await asyncio.sleep(0.005)


async def told(caplog: pytest.LogCaptureFixture, text: str) -> str:
    """Wait for a log line that begins so, and return the rest of it."""
    async with asyncio.timeout(10):
        while True:
            for record in caplog.records:
                if record.getMessage().startswith(text):
                    return record.getMessage().removeprefix(text)
            await asyncio.sleep(0.005)


# --- renewals that nobody notices --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["in place", "kubernetes"])
async def test_no_call_is_lost_in_five_renewals(world: World, layout: str) -> None:
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


async def test_calls_that_outlast_the_grace_are_ended(world: World) -> None:
    world.write(world.contents(world.issue("old")))
    channel = world.connect(renewal_grace_seconds=0.1)
    call: Any = channel.stream_stream("/names/stream_stream")()
    await call.write(b"")
    assert await call.read() == b"old"
    world.write(world.contents(world.issue("new")))
    async with asyncio.timeout(10):
        assert await call.code() is C.CANCELLED
    assert await ask(channel)(b"") == b"new"


async def test_a_channel_that_has_made_no_call_yet_takes_the_newest(world: World) -> None:
    world.write(world.contents(world.issue("old")))
    channel = world.connect(poll_seconds=3600)
    unary = ask(channel)
    world.write(world.contents(world.issue("new")))
    await unary(b"")
    await until(unary, "new")


async def test_a_new_authority_is_trusted_and_an_old_one_no_more(world: World) -> None:
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


async def test_who_waits_for_another_state_is_told_of_that_of_another_channel(world: World) -> None:
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


# --- what is no good ---------------------------------------------------------------------------------------------


def wrong(world: World) -> dict[str, tuple[list[bytes], str]]:
    """Return contents of the files that are not taken up, and why not."""
    certificate, key, ca = world.contents(world.issue("new"))
    past = datetime.now(UTC) - timedelta(days=2)
    expired = world.issue("new", not_before=past, lifetime=timedelta(days=1))
    folder = world.folder
    return {
        "the key of another": (
            [certificate, world.issue("x").key_pem, ca],
            f"{folder}/client.key does not belong to the certificate in {folder}/client.pem",
        ),
        "expired": ([expired.certificate_pem, expired.key_pem, ca], "the certificate expired "),
        "an expired authority": (
            [certificate, key, Authority.create("old CA", past - timedelta(days=365)).certificate_pem],
            "every CA expired ",
        ),
        "no certificate": ([b"garbage", key, ca], f"{folder}/client.pem holds no certificate that can be read"),
        "no key": ([certificate, b"garbage", ca], f"{folder}/client.key is no key that can be read"),
        "no authority": ([certificate, key, b""], f"{folder}/ca.pem is empty"),
        "garbage for an authority": ([certificate, key, b"garbage"], f"{folder}/ca.pem holds no certificate"),
    }


async def test_files_that_are_no_good_are_not_used_and_that_is_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.swap(world.contents(world.issue("old")))
    unary = ask(world.connect())
    for contents, why in wrong(world).values():
        assert await unary(b"") == b"old"
        caplog.clear()
        world.swap(contents)
        assert (await told(caplog, "the client's new certificate is not used, the old one stays: ")).startswith(why)
        assert await unary(b"") == b"old"
    world.files[1].unlink()
    why = f"{world.files[1]} cannot be read (No such file or directory); check the path"
    assert await told(caplog, f"the client's new certificate is not used, the old one stays: {why}") == ""
    world.files[1].symlink_to("..data/client.key")
    world.swap(world.contents(world.issue("new")))
    await until(unary, "new")


async def test_a_certificate_that_the_server_does_not_take_is_not_used(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_channel, "READY_SECONDS", 0.05)
    world.write(world.contents(world.issue("old")))
    unary = ask(world.connect())
    assert await unary(b"") == b"old"
    stranger = Authority.create("other CA").issue(client_request("stranger", "test"))
    world.write(world.contents(stranger))
    await told(caplog, "the server is not reached with the new certificate, the old one stays until it is")
    assert await unary(b"") == b"old"
    world.write(world.contents(world.issue("new")))
    await until(unary, "new")


async def test_where_the_old_certificate_has_expired_there_is_no_sense_in_staying(world: World) -> None:
    world.write(world.contents(world.issue("old", lifetime=timedelta(days=1))))
    channel: Any = world.connect()
    assert await ask(channel)(b"") == b"old"
    later = datetime.now(UTC) + timedelta(days=2)
    channel._clock = later.timestamp
    stranger = Authority.create("other CA").issue(client_request("stranger", "test"))
    world.write(world.contents(stranger))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await until(ask(channel), "nobody")
    assert caught.value.code() is C.UNAVAILABLE


async def test_a_client_that_starts_with_an_expired_certificate_says_so_and_goes_on_with_the_next(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    past = datetime.now(UTC) - timedelta(days=2)
    world.write(world.contents(world.issue("old", not_before=past, lifetime=timedelta(days=1))))
    unary = ask(world.connect())
    assert (await told(caplog, "the client's certificate will be refused: ")).startswith("the certificate expired ")
    with pytest.raises(grpc.aio.AioRpcError):
        await unary(b"")
    world.write(world.contents(world.issue("new")))
    await told(caplog, "the client's certificate was renewed")
    assert await unary(b"", wait_for_ready=True) == b"new"


# --- a channel like any other ------------------------------------------------------------------------------------


async def test_its_state_is_that_of_the_newest(world: World) -> None:
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


async def test_closing_ends_the_calls_of_every_certificate_within_the_grace(world: World) -> None:
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


async def test_a_channel_that_is_forgotten_lets_go_of_its_files(world: World) -> None:
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


async def test_the_watch_does_not_hold_on_to_the_call_that_it_began_in(world: World) -> None:
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
