"""A channel of ours: never plaintext, fresh proofs for each attempt, a deadline, and retries that do no harm."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from secure_rpc.client import connect
from secure_rpc.configuration import ConfigurationError
from secure_rpc.token_sources import TokenUnavailable
from secure_rpc.v1 import access_pb2

from support.certificates import Certificates, issue

C = grpc.StatusCode
SERVICE = "tried.v1.Tried"
Metadata = dict[str, str | bytes]


def service_descriptor() -> ServiceDescriptor:
    """Return a service with a method of each kind of idempotency; a pool of its own forgets it again."""
    file = descriptor_pb2.FileDescriptorProto(name="tried.proto", package="tried.v1", syntax="proto3")
    file.message_type.add(name="Empty")
    service = file.service.add(name="Tried")
    kinds = descriptor_pb2.MethodOptions
    for name, level in (
        ("Read", kinds.NO_SIDE_EFFECTS),
        ("Put", kinds.IDEMPOTENT),
        ("Pay", kinds.IDEMPOTENT),
        ("Create", kinds.IDEMPOTENCY_UNKNOWN),
    ):
        method = service.method.add(name=name, input_type=".tried.v1.Empty", output_type=".tried.v1.Empty")
        method.options.idempotency_level = level
        method.options.Extensions[access_pb2.access].replay_protected = name in {"Pay", "Create"}
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(SERVICE)


class Tried(grpc.GenericRpcHandler):
    """Notes each attempt, and fails as many as it is told to."""

    def __init__(self) -> None:
        self.attempts: list[Metadata] = []
        self.remaining_seconds: list[float | None] = []
        self.failures = 0
        self.code = C.UNAVAILABLE

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        self.attempts.append(dict(details.invocation_metadata))
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, _request: bytes, context: Any) -> bytes:
        self.remaining_seconds.append(context.time_remaining())
        if len(self.attempts) <= self.failures:
            await context.abort(self.code, "not now")
        return b""


@dataclass
class World:
    """A real server with TLS, and what makes channels to it."""

    certificates: Certificates
    port: int = 0
    tried: Tried = field(default_factory=Tried)
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def connect(self, **said: Any) -> grpc.aio.Channel:
        usual: dict[str, Any] = {
            "certificate_file": self.certificates.client,
            "key_file": self.certificates.key_of(self.certificates.client),
            "ca_file": self.certificates.authority,
            "services": [service_descriptor()],
        }
        channel = connect(f"localhost:{self.port}", **(usual | said))
        self.channels.append(channel)
        return channel

    async def call(self, method: str, channel: grpc.aio.Channel | None = None, **said: Any) -> Any:
        multi_callable: Any = (channel or self.connect()).unary_unary(f"/{SERVICE}/{method}")
        return await multi_callable(b"", **said)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def world(certificates: Certificates) -> AsyncIterator[World]:
    made, server = World(certificates), grpc.aio.server()
    server.add_generic_rpc_handlers((made.tried,))
    made.port = server.add_secure_port("localhost:0", certificates.credentials()[0])
    await server.start()
    yield made
    for channel in made.channels:
        await channel.close()
    await server.stop(None)


# --- the transport -----------------------------------------------------------------------------------------------


async def test_a_call_arrives_by_mutual_tls(world: World) -> None:
    assert await world.call("Read") == b""


def test_connect_has_no_way_to_make_a_plaintext_channel() -> None:
    parameters = inspect.signature(connect).parameters
    required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    assert required == {"target", "certificate_file", "key_file", "ca_file"}
    assert "insecure" not in inspect.getsource(connect)


async def test_no_token_is_sent_to_a_server_without_tls(world: World) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append("asked")
        return "secret"

    plaintext, tried = grpc.aio.server(), Tried()
    plaintext.add_generic_rpc_handlers((tried,))
    world.port = plaintext.add_insecure_port("localhost:0")
    await plaintext.start()
    channel = world.connect(token=token)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.call("Create", channel, timeout=5)
    assert caught.value.code() is C.UNAVAILABLE
    assert (tried.attempts, asked) == ([], [])
    await plaintext.stop(None)


async def test_a_server_of_another_authority_is_not_called(world: World, tmp_path: Path) -> None:
    channel = world.connect(ca_file=issue(tmp_path).authority)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.call("Create", channel, timeout=5)
    assert caught.value.code() is C.UNAVAILABLE
    assert world.tried.attempts == []


async def test_a_server_of_another_name_is_called_by_that_name_alone(world: World) -> None:
    channel = connect_by_address(world)
    with pytest.raises(grpc.aio.AioRpcError):
        await world.call("Create", channel, timeout=5)
    assert await world.call("Create", connect_by_address(world, server_name="localhost")) == b""


def connect_by_address(world: World, **said: Any) -> grpc.aio.Channel:
    channel = connect(
        f"127.0.0.1:{world.port}",
        certificate_file=world.certificates.client,
        key_file=world.certificates.key_of(world.certificates.client),
        ca_file=world.certificates.authority,
        **said,
    )
    world.channels.append(channel)
    return channel


@pytest.mark.parametrize("name", ["certificate_file", "key_file", "ca_file"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_file_that_is_empty_or_missing_is_refused(
    certificates: Certificates, tmp_path: Path, name: str, *, empty: bool
) -> None:
    file = tmp_path / "file.pem"
    if empty:
        file.write_bytes(b"")
    files: dict[str, Any] = {
        "certificate_file": certificates.client,
        "key_file": certificates.key_of(certificates.client),
        "ca_file": certificates.authority,
        name: file,
    }
    with pytest.raises(ConfigurationError) as caught:
        connect("localhost:1", **files)
    told = "is empty" if empty else "cannot be read (No such file or directory); check the path"
    assert caught.value.problems == (f"{file} {told}",)


# --- proofs ------------------------------------------------------------------------------------------------------


async def test_each_call_asks_for_its_token(world: World) -> None:
    numbers = itertools.count(1)
    channel = world.connect(token=lambda: f"token-{next(numbers)}")
    for _ in range(2):
        await world.call("Read", channel)
    assert [attempt["authorization"] for attempt in world.tried.attempts] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("token", [None, lambda: "", lambda: None])
async def test_where_there_is_no_token_no_header_is_sent(world: World, token: Callable[[], str] | None) -> None:
    await world.call("Read", world.connect(token=token))
    assert "authorization" not in world.tried.attempts[0]


async def test_an_api_key_goes_in_a_header_of_its_own_and_is_asked_for_each_time(world: World) -> None:
    numbers = itertools.count(1)
    channel = world.connect(api_key=lambda: f"id.key-{next(numbers)}")
    for _ in range(2):
        await world.call("Read", channel)
    assert [attempt["x-api-key"] for attempt in world.tried.attempts] == ["id.key-1", "id.key-2"]
    assert "authorization" not in world.tried.attempts[0]


async def test_an_api_key_source_that_fails_ends_the_call_and_sends_nothing(world: World) -> None:
    def fail() -> str:
        raise TokenUnavailable("no key today")

    with pytest.raises(grpc.aio.AioRpcError):
        await world.call("Create", world.connect(api_key=fail), timeout=5)
    assert world.tried.attempts == []


async def test_a_token_source_that_fails_ends_the_call_and_sends_nothing(world: World) -> None:
    def fail() -> str:
        raise ValueError("no token today")

    with pytest.raises(grpc.aio.AioRpcError):
        await world.call("Create", world.connect(token=fail), timeout=5)
    assert world.tried.attempts == []


async def test_replay_proofs_go_with_the_methods_that_ask_for_them(world: World) -> None:
    channel = world.connect()
    for method in ("Create", "Create", "Read"):
        await world.call(method, channel)
    first, second, read = world.tried.attempts
    assert first["request-nonce"] != second["request-nonce"]
    assert len(first["request-nonce"]) == 22
    assert float(first["request-time"]) == pytest.approx(time.time(), abs=5)
    assert "request-nonce" not in read


async def test_each_attempt_has_proofs_of_its_own(world: World) -> None:
    world.tried.failures = 2
    numbers = itertools.count(1)
    await world.call("Put", world.connect(token=lambda: f"token-{next(numbers)}"))
    tokens = [attempt["authorization"] for attempt in world.tried.attempts]
    assert tokens == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


# --- attempts and deadlines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["Read", "Put"])
async def test_what_does_no_harm_twice_is_tried_again_and_not_for_ever(world: World, method: str) -> None:
    world.tried.failures = 100
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.call(method)
    assert caught.value.code() is C.UNAVAILABLE
    assert len(world.tried.attempts) == 4


@pytest.mark.parametrize("method", ["Create", "Pay"])
async def test_what_might_do_harm_twice_is_tried_once(world: World, method: str) -> None:
    world.tried.failures = 1
    with pytest.raises(grpc.aio.AioRpcError):
        await world.call(method)
    assert len(world.tried.attempts) == 1


async def test_a_server_that_goes_on_failing_is_not_asked_more_and_more(world: World) -> None:
    world.tried.failures = 1000
    channel = world.connect()
    for _ in range(10):
        with pytest.raises(grpc.aio.AioRpcError):
            await world.call("Read", channel)
    before = len(world.tried.attempts)
    with pytest.raises(grpc.aio.AioRpcError):
        await world.call("Read", channel)
    assert len(world.tried.attempts) == before + 1


async def test_without_its_descriptor_nothing_is_tried_again(world: World) -> None:
    world.tried.failures = 1
    with pytest.raises(grpc.aio.AioRpcError):
        await world.call("Read", world.connect(services=[]))
    assert len(world.tried.attempts) == 1


@pytest.mark.parametrize("code", [C.INTERNAL, C.PERMISSION_DENIED, C.FAILED_PRECONDITION, C.ABORTED])
async def test_an_answer_is_not_asked_for_again(world: World, code: grpc.StatusCode) -> None:
    world.tried.failures, world.tried.code = 1, code
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.call("Read")
    assert caught.value.code() is code
    assert len(world.tried.attempts) == 1


@pytest.mark.parametrize(
    ("default", "own", "expected"), [({}, {}, 10), ({"deadline_seconds": 3}, {}, 3), ({}, {"timeout": 30}, 30)]
)
async def test_a_unary_call_has_a_deadline_also_where_it_names_none(
    world: World, default: dict[str, float], own: dict[str, float], expected: float
) -> None:
    await world.call("Read", world.connect(**default), **own)
    [remaining] = world.tried.remaining_seconds
    assert remaining == pytest.approx(expected, abs=2)
