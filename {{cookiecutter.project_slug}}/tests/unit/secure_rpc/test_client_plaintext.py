"""A channel without TLS stays on this machine, and no credential is ever sent on it, whoever wrote it by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from secure_rpc.client import CREDENTIAL_KEYS, connect_plaintext
from secure_rpc.configuration import ConfigurationError

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


@dataclass
class Listener(grpc.GenericRpcHandler):
    """Notes every call that comes, before anything else."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        self.calls.append(dict(details.invocation_metadata))
        kind = details.method.rpartition("/")[2]
        return getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, f"_{'to_' + kind.rpartition('_')[2]}"))

    async def _to_unary(self, _requests: Any, _context: Any) -> bytes:
        return b"answer"

    async def _to_stream(self, _requests: Any, _context: Any) -> AsyncIterator[bytes]:
        yield b"answer"


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made, server = Listener(), grpc.aio.server()
    server.add_generic_rpc_handlers((made,))
    made.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield made
    await server.stop(None)


async def requests() -> AsyncIterator[bytes]:
    yield b"request"


async def ask(channel: grpc.aio.Channel, kind: str, metadata: Any = (), **said: Any) -> list[bytes]:
    multi_callable: Any = getattr(channel, kind)(f"/a.B/{kind}")
    call = multi_callable(requests() if kind.startswith("stream") else b"request", metadata=metadata, timeout=5, **said)
    return [part async for part in call] if kind.endswith("stream") else [await call]


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_without_credentials_go_through(listener: Listener, kind: str) -> None:
    async with connect_plaintext(f"127.0.0.1:{listener.port}") as channel:
        assert await ask(channel, kind, (("x-other", "kept"),)) == [b"answer"]
    [metadata] = listener.calls
    assert metadata["x-other"] == "kept"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", [*sorted(CREDENTIAL_KEYS), "Authorization", "X-API-KEY"])
async def test_a_credential_that_was_written_by_hand_is_not_sent(listener: Listener, kind: str, key: str) -> None:
    async with connect_plaintext(f"127.0.0.1:{listener.port}") as channel:
        for metadata in (((key, "Bearer hunter2"),), (("x-other", "a"), (key, "")), grpc.aio.Metadata((key, "x"))):
            with pytest.raises(PermissionError) as caught:
                await ask(channel, kind, metadata)
            assert str(caught.value) == f'"{key}" is not sent in plaintext; use connect()'
        assert listener.calls == []
        assert await ask(channel, kind) == [b"answer"]  # the channel is as good as before


@pytest.mark.parametrize("kind", KINDS)
async def test_call_credentials_are_not_sent_either(listener: Listener, kind: str) -> None:
    credentials = grpc.access_token_call_credentials("hunter2")
    async with connect_plaintext(f"127.0.0.1:{listener.port}") as channel:
        with pytest.raises(grpc.aio.UsageError):
            await ask(channel, kind, credentials=credentials)
    assert listener.calls == []


def test_all_the_headers_that_we_read_credentials_from_are_known() -> None:
    assert {"authorization", "x-api-key", "cookie", "proxy-authorization"} == CREDENTIAL_KEYS


@pytest.mark.parametrize(
    "target",
    [
        "example.org:50051",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "127.0.0.1.example.org:1",
        "localhost.example.org:1",
        "127.0.0.2:1",
        "[::2]:1",
        "dns:///example.org:1",
        "dns://8.8.8.8/localhost:1",
        "ipv4:10.0.0.1:1",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "xds:///localhost:1",
        "passthrough:///example.org:1",
        "https://localhost:1",
        "localhost@example.org:1",
        "localhost",
        "",
    ],
)
async def test_a_target_that_may_be_on_another_machine_is_refused(target: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect_plaintext(target)
    assert caught.value.problems == (f"{target}: plaintext stays on this machine; use connect() to go further",)


@pytest.mark.parametrize("target", ["localhost:{}", "127.0.0.1:{}", "dns:///localhost:{}", "unix:{}", "unix://{}"])
async def test_a_target_on_this_machine_is_called(listener: Listener, tmp_path: Any, target: str) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((listener,))
    socket = tmp_path / "s"
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    async with connect_plaintext(target.format(socket if "unix" in target else listener.port)) as channel:
        assert await ask(channel, "unary_unary") == [b"answer"]
    await server.stop(None)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_no_proxy_of_the_environment_comes_between(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as running:
        for name in ("no_grpc_proxy", "no_proxy", "grpc_proxy", "https_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}")
        async with connect_plaintext(f"localhost:{listener.port}") as channel:
            assert await ask(channel, "unary_unary") == [b"answer"]
    assert seen == []
