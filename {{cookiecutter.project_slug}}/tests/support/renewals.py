"""A server that says by which certificate it is called, and a client whose files change under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from secure_rpc.client import connect
from secure_rpc.dev.authority import Authority, Leaf, Request, server_request

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
class Renewals:
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


@asynccontextmanager
async def run_renewals(folder: Path) -> AsyncIterator[Renewals]:
    """Run the server; the client's channels are closed with it."""
    made, server = Renewals(folder), grpc.aio.server()
    made.folder.mkdir()
    server.add_generic_rpc_handlers((Names(),))
    leaf = made.authority.issue(server_request("server", "test"))
    credentials = grpc.ssl_server_credentials(
        [(leaf.key_pem, leaf.certificate_pem)], made.authority.certificate_pem, require_client_auth=True
    )
    made.port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield made
    finally:
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
