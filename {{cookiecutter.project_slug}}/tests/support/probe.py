"""A servicer with every kind of method, in every style that a handler can be written in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support import acts

SERVICE = "probe.v1.ProbeService"
SHAPES = (
    "Unary",
    "ServerStream",
    "ServerStreamByWrite",
    "ClientStream",
    "ClientStreamByRead",
    "Bidi",
    "BidiByReadWrite",
)
STREAMS_OUT = tuple(shape for shape in SHAPES if shape.startswith(("Server", "Bidi")))
STREAMS_IN = tuple(shape for shape in SHAPES if shape.startswith(("Client", "Bidi")))
UNARY_IN = tuple(shape for shape in SHAPES if shape not in STREAMS_IN)
OTHERS = ("TenantUnary", "TenantBidi", "Protected", "Public")

FLOOD = "flood"  # the act of a stream that never ends
_FLOOD = pb.Answer(padding=bytes(100_000))


def path_of(shape: str) -> str:
    """Return the path of a method."""
    return f"/{SERVICE}/{shape}"


@dataclass
class Servicer(probe_pb2_grpc.ProbeServiceServicer):
    """Each act is counted before it is performed, each upload that was taken for whole after."""

    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))  # one more for each act
    committed: list[int] = field(default_factory=list)  # the messages of each upload
    closed: list[str] = field(default_factory=list)  # the response streams that were cleaned up

    async def perform(self, ask: pb.Ask, context: Any) -> Any:
        self.begun.release()
        return await acts.perform(ask, context)

    async def Unary(self, request: pb.Ask, context: Any) -> pb.Answer:
        return await self.perform(request, context)  # type: ignore[no-any-return]

    async def ServerStream(self, request: pb.Ask, context: Any) -> AsyncIterator[pb.Answer]:
        try:
            while request.act == FLOOD:
                yield _FLOOD
            for _ in range(request.count):
                yield pb.Answer(text="part")
            yield await self.perform(request, context)
        finally:
            await asyncio.sleep(0)  # a clean-up that awaits
            self.closed.append("ServerStream")

    async def ServerStreamByWrite(self, request: pb.Ask, context: Any) -> None:  # type: ignore[override]  # as gRPC allows
        try:
            while request.act == FLOOD:
                await context.write(_FLOOD)
            for _ in range(request.count):
                await context.write(pb.Answer(text="part"))
            await context.write(await self.perform(request, context))
        finally:
            self.closed.append("ServerStreamByWrite")

    async def ClientStream(self, request_iterator: AsyncIterator[pb.Ask], context: Any) -> pb.Answer:
        answer, seen = pb.Answer(), 0
        async for request in request_iterator:
            seen += 1
            answer = await self.perform(request, context)
        self.committed.append(seen)
        return answer

    async def ClientStreamByRead(self, _requests: object, context: Any) -> pb.Answer:
        answer, seen = pb.Answer(), 0
        while (request := await context.read()) is not grpc.aio.EOF:
            seen += 1
            answer = await self.perform(request, context)
        self.committed.append(seen)
        return answer

    async def Bidi(self, request_iterator: AsyncIterator[pb.Ask], context: Any) -> AsyncIterator[pb.Answer]:
        try:
            async for request in request_iterator:
                while request.act == FLOOD:
                    yield _FLOOD
                yield await self.perform(request, context)
        finally:
            self.closed.append("Bidi")

    async def BidiByReadWrite(self, _requests: object, context: Any) -> None:  # type: ignore[override]  # as gRPC allows
        try:
            while (request := await context.read()) is not grpc.aio.EOF:
                while request.act == FLOOD:
                    await context.write(_FLOOD)
                await context.write(await self.perform(request, context))
        finally:
            self.closed.append("BidiByReadWrite")

    TenantUnary = Protected = Public = Unary
    TenantBidi = Bidi


class SignedServicer(probe_pb2_grpc.SignedServiceServicer):
    """Answers signed calls as the probe answers others.

    Args:
        probe: that counts and performs.
    """

    def __init__(self, probe: Servicer) -> None:
        self._probe = probe

    async def Signed(self, request: pb.Ask, context: Any) -> pb.Answer:
        return await self._probe.Unary(request, context)

    async def SignedStream(self, request: pb.Ask, context: Any) -> AsyncIterator[pb.Answer]:
        async for answer in self._probe.ServerStream(request, context):
            yield answer

    def add(self, server: Any) -> None:
        """Add the servicer."""
        probe_pb2_grpc.add_SignedServiceServicer_to_server(self, server)
