"""A call that no client of gRPC would make: its path is not UTF-8, which ends grpc.aio's own serving loop."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from secure_rpc.drills.ground import Ground

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS = 4, 1  # types of frames, RFC 9113, section 6
END_STREAM, END_HEADERS = 0x1, 0x4
LITERAL = b"\0"  # a header that is not indexed, with a new name: RFC 7541, section 6.2.2
PATH = b"/a.v1.B/\xff"
ANSWER_SECONDS = 5.0


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _header(name: bytes, value: bytes) -> bytes:
    return LITERAL + bytes([len(name)]) + name + bytes([len(value)]) + value


async def call(ground: Ground) -> None:
    """Make the call, and wait for whatever comes of it.

    Args:
        ground: the service.
    """
    files = ground.files
    context = ssl.create_default_context(cafile=str(files.ca_certificate))
    context.load_cert_chain(files.client_certificate, files.client_key)
    context.set_alpn_protocols(["h2"])
    host, _, port = ground.target.rpartition(":")
    headers = (
        (b":method", b"POST"), (b":scheme", b"https"), (b":path", PATH), (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"),
    )  # fmt: skip
    block = b"".join(_header(*each) for each in headers)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
    writer.write(PREFACE + _frame(SETTINGS, 0, 0) + _frame(HEADERS, END_STREAM | END_HEADERS, 1, block))
    await writer.drain()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(ANSWER_SECONDS):
            told = b""
            while b"grpc-status" not in told and (more := await reader.read(65536)):
                told += more
    writer.close()
