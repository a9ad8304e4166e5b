"""A caller that floods: many calls at once from one address, the next as soon as one is answered, whatever the answer.

Run by the service's own Python, as a module, from the folder above. Begins when a line is read, ends after some
seconds, prints how many were served and how many refused. HTTP/2 by hand, since gRPC binds to no address.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import ssl
import sys
from pathlib import Path

import hpack

STREAMS = 90  # of a connection; the server lets 100 be open, and counts those that have just ended
AGAIN_SECONDS = 0.1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
WIDE = 0x7FFF0000  # by which the window of the connection is opened once: it is never used up
HEAD_BYTES = 9


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame as bytes."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Flood(asyncio.Protocol):
    """One connection, with as many calls under way as it may have.

    Args:
        block: The headers of a call, which refer to nothing that came before.
        message: The request.
    """

    def __init__(self, block: bytes, message: bytes) -> None:
        """Know what is sent again and again."""
        self._block, self._message = block, message
        self._buffer = bytearray()
        self._next = 1
        self._answered: set[int] = set()  # streams that have headers: those of a refusal come with the end
        self.served = self.refused = self.reset = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin as many calls as may be."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        opening = frame(SETTINGS) + frame(WINDOW_UPDATE, payload=WIDE.to_bytes(4, "big"))
        self._transport.write(PREFACE + opening + b"".join(self._call() for _ in range(STREAMS)))

    def data_received(self, data: bytes) -> None:
        """Take in frames, and begin a call for each that has ended."""
        self._buffer += data
        answers, position = [], 0
        while len(self._buffer) - position >= HEAD_BYTES:
            length = int.from_bytes(self._buffer[position : position + 3], "big")
            end = position + HEAD_BYTES + length
            if len(self._buffer) < end:
                break
            kind, flags = self._buffer[position + 3], self._buffer[position + 4]
            stream = int.from_bytes(self._buffer[position + 5 : position + HEAD_BYTES], "big")
            answers.append(self._take(kind, flags, stream, bytes(self._buffer[position + HEAD_BYTES : end])))
            position = end
        del self._buffer[:position]
        self._transport.write(b"".join(answers))

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if kind in {SETTINGS, PING} and not flags & ACK:
            return frame(kind, ACK, 0, payload if kind == PING else b"")
        if kind == GOAWAY:
            sys.exit("the server has closed the connection")
        if kind == RST_STREAM or (kind in {HEADERS, DATA} and flags & END_STREAM):
            if kind == RST_STREAM:  # too many are open: once more, when some have ended
                self.reset += 1
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again)
                return b""
            if stream in self._answered:
                self._answered.discard(stream)
                self.served += 1
            else:
                self.refused += 1
            return self._call()
        if kind == HEADERS:
            self._answered.add(stream)
        return b""

    def _again(self) -> None:
        self._transport.write(self._call())

    def _call(self) -> bytes:
        stream, self._next = self._next, self._next + 2
        return frame(HEADERS, END_HEADERS, stream, self._block) + frame(DATA, END_STREAM, stream, self._message)


def _headers(path: str, token: str) -> bytes:
    headers = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("authorization", f"Bearer {token}"),
    ]
    block: bytes = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*each) for each in headers])
    return block


async def main() -> None:
    """Read the arguments, wait for a line, flood."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("address", help="that it comes from")
    parser.add_argument("certificates", type=Path)
    parser.add_argument("token")
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    # its own work would be another machine's: good callers and server have the cores whenever they want them
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    flood = importlib.import_module("benchmarks.flood")
    messages = importlib.import_module("order_service.v1.order_pb2")
    body = messages.GetOrderRequest(tenant=flood.TENANT, id=flood.ID).SerializeToString()
    block, message = _headers(flood.PATH, arguments.token), b"\0" + len(body).to_bytes(4, "big") + body
    context = ssl.create_default_context(cafile=str(arguments.certificates / "ca.pem"))
    context.load_cert_chain(arguments.certificates / "client.pem", arguments.certificates / "client.key")
    context.set_alpn_protocols(["h2"])
    host, _, port = arguments.target.rpartition(":")
    await asyncio.to_thread(sys.stdin.readline)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Flood(block, message), host, int(port), ssl=context, server_hostname="localhost",
            local_addr=(arguments.address, 0),
        )
        for _ in range(arguments.connections)
    ]  # fmt: skip
    await asyncio.sleep(arguments.seconds)
    floods = [each for _, each in made]
    json.dump(
        {what: sum(getattr(each, what) for each in floods) for what in ("served", "refused", "reset")}, sys.stdout
    )
    for transport, _ in made:
        transport.abort()


if __name__ == "__main__":
    asyncio.run(main())
