"""HTTP/2 frame by frame: what gRPC's own client would never send (RFC 9113)."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, TypeAlias

import hpack

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM = ACK = 0x1
END_HEADERS = 0x4


class Kind(IntEnum):
    """The types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Frame(NamedTuple):
    """One frame, as it was received."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame as bytes; nothing is checked."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def message(body: bytes) -> bytes:
    """Return a gRPC message: its length, then its bytes, uncompressed."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def tls_context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS side of a client with a certificate that speaks HTTP/2."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


class Connection:
    """One connection and the answers that came in on it so far.

    Args:
        acknowledge: whether to acknowledge settings and pings; limits that the settings set bind only after that.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, acknowledge: bool = True) -> None:
        self._reader, self._writer, self._acknowledge = reader, writer, acknowledge
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._next_stream = 1
        self._answers: dict[int, dict[str, bytes]] = defaultdict(dict)
        self._ended: set[int] = set()
        self._told: set[int] = set()

    async def send(self, *data: bytes) -> None:
        """Write bytes as they are."""
        self._writer.write(b"".join(data))
        await self._writer.drain()

    def stream(self) -> int:
        """Return the number of the next stream."""
        self._next_stream += 2
        return self._next_stream - 2

    def encode(self, headers: Headers) -> bytes:
        """Return a block of headers."""
        block: bytes = self._encoder.encode(list(headers))
        return block

    async def call(self, path: bytes, body: bytes | None = b"", metadata: Headers = ()) -> int:
        """Begin a call with a path of any bytes and return its stream; without a body it stays open."""
        stream = self.stream()
        block = self.encode((*request_headers(path), *metadata))
        frames = [frame(Kind.HEADERS, END_HEADERS, stream, block)]
        if body is not None:
            frames.append(frame(Kind.DATA, END_STREAM, stream, message(body)))
        await self.send(*frames)
        return stream

    async def answer(self, stream: int) -> dict[str, bytes]:
        """Wait for the end of a stream and return its headers and trailers, those of a reset as "reset".

        Raises:
            ConnectionError: the other side closed the connection before that.
            TimeoutError: the other side does neither.
        """
        async with asyncio.timeout(10):
            while stream not in self._ended:
                self._take(await self.receive())
        return self._answers[stream]

    async def next_answer(self) -> dict[str, bytes]:
        """Wait for the end of any stream that has not been told of, and return its headers and trailers.

        Raises:
            ConnectionError: the other side closed the connection before that.
            TimeoutError: the other side does neither.
        """
        async with asyncio.timeout(10):
            while not self._ended - self._told:
                self._take(await self.receive())
        stream = min(self._ended - self._told)
        self._told.add(stream)
        return self._answers[stream]

    async def receive(self) -> Frame:
        """Return the next frame; settings and pings are acknowledged.

        Raises:
            ConnectionError: the other side closed the connection.
        """
        try:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the other side closed the connection") from error
        received = Frame(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload)
        if self._acknowledge and received.kind in {Kind.SETTINGS, Kind.PING} and not received.flags & ACK:
            echo = received.payload if received.kind == Kind.PING else b""
            await self.send(frame(received.kind, ACK, 0, echo))
        return received

    def _take(self, received: Frame) -> None:
        if received.kind == Kind.HEADERS:
            headers = self._decoder.decode(received.payload, raw=True)
            self._answers[received.stream].update((name.decode(), value) for name, value in headers)
        if received.kind == Kind.RST_STREAM:
            self._answers[received.stream]["reset"] = received.payload
            self._ended.add(received.stream)
        if received.kind in {Kind.HEADERS, Kind.DATA} and received.flags & END_STREAM:
            self._ended.add(received.stream)


def request_headers(path: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a gRPC call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]


@asynccontextmanager
async def connect(
    port: int, tls: ssl.SSLContext | None = None, *, acknowledge: bool = True, from_address: str = "127.0.0.1"
) -> AsyncIterator[Connection]:
    """Open a connection to a port of this machine, with the preface sent."""
    server_hostname = "localhost" if tls else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname=server_hostname, local_addr=(from_address, 0)
    )
    connection = Connection(reader, writer, acknowledge=acknowledge)
    try:
        await connection.send(PREFACE, frame(Kind.SETTINGS))
        yield connection
    finally:
        writer.transport.abort()  # gRPC leaves a farewell of TLS unanswered
        with suppress(OSError):
            await writer.wait_closed()
