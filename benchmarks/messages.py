"""Calls of every kind with many messages, for what a message costs the server.

Run by the service's own Python, as a module, from the service's folder; makes calls when a line is read that names a
kind and how many messages, and prints how many were answered. The server's CPU time is read by whoever asks.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

SERVICE = "/order_service.v1.OrderService"
TENANT = "acme"
SECONDS = 120.0


class Caller:
    """Makes calls with many messages on one connection.

    Args:
        target: "host:port".
        certificates: the folder with theirs.
        token: of somebody who may read and write.
    """

    def __init__(self, target: str, certificates: Path, token: str) -> None:
        """Open the connection."""
        files = [(certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
        self._channel: Any = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files))
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._messages = importlib.import_module("order_service.v1.order_pb2")

    async def unary(self, count: int) -> int:
        """Make calls one after the other."""
        call = self._channel.unary_unary(f"{SERVICE}/GetOrder", self._serialized)
        request = self._messages.GetOrderRequest(tenant=TENANT, id="1")
        return len([await call(request, metadata=self._metadata, timeout=SECONDS) for _ in range(count)])

    async def client_stream(self, count: int) -> int:
        """Send messages in one call."""
        call = self._channel.stream_unary(f"{SERVICE}/ImportOrders", self._serialized)
        request = self._messages.ImportOrdersRequest(tenant=TENANT, title="A thing that is kept")
        answer = await call(self._repeated(request, count), metadata=self._metadata, timeout=SECONDS)
        return int(self._messages.ImportOrdersResponse.FromString(answer).imported)

    async def server_stream(self, count: int) -> int:
        """Read messages in one call; as many have to be kept."""
        call = self._channel.unary_stream(f"{SERVICE}/WatchOrders", self._serialized)
        request = self._messages.WatchOrdersRequest(tenant=TENANT)
        answers = call(request, metadata=self._metadata, timeout=SECONDS)
        found = 0
        async for _ in answers:
            found += 1
            if found == count:
                answers.cancel()
                break
        return found

    async def bidi_stream(self, count: int) -> int:
        """Send messages and read as many answers in one call."""
        call = self._channel.stream_stream(f"{SERVICE}/SyncOrders", self._serialized)
        request = self._messages.SyncOrdersRequest(tenant=TENANT, id="1")
        answers = call(self._repeated(request, count), metadata=self._metadata, timeout=SECONDS)
        return len([answer async for answer in answers])

    @staticmethod
    def _serialized(message: Message) -> bytes:
        return message.SerializeToString()

    @staticmethod
    async def _repeated(request: object, count: int) -> AsyncIterator[object]:
        for _ in range(count):
            yield request


async def main() -> None:
    """Read the arguments, then lines, and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("certificates", type=Path)
    parser.add_argument("token")
    arguments = parser.parse_args()
    caller = Caller(arguments.target, arguments.certificates, arguments.token)
    while line := await asyncio.to_thread(sys.stdin.readline):
        kind, count = line.split()
        print(json.dumps({"answered": await getattr(caller, kind)(int(count))}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
