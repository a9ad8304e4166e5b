"""Load as callers make it: unary calls at a steady rate, and streams that stay open, counted step by step."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from secure_rpc.client import connect
from secure_rpc.client_channel import RotatingChannel
from secure_rpc.configuration import ConfigurationError
from secure_rpc.drills.ground import LOOK_SECONDS, PATIENCE_SECONDS, Ground
from secure_rpc.tls import client_credentials

TALK_SECONDS = 0.2  # between two messages of a stream in both directions
OPENING_SECONDS = 0.3  # for streams to be open: what has ended by then does not stay open
DEADLINE_SECONDS = 20.0  # a worker that is replaced is not what makes a call late
ANSWERS = (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND)  # of a handler that was reached

Asking = tuple[MethodDescriptor, Message]


@dataclass(slots=True)
class Tally:
    """What calls and streams went through while a step was made."""

    step: str
    latencies_seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)  # unary calls, by how they ended
    streams_before: int = 0
    streams_after: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # streams, by how
    problems: list[str] = field(default_factory=list)  # streams that should not have ended, or should have

    @property
    def calls(self) -> int:
        """Return how many unary calls were made."""
        return len(self.latencies_seconds)

    def latency_ms(self, percent: int) -> float:
        """Return a percentile, from when a call was due to its answer."""
        if self.calls < 2:  # noqa: PLR2004  # of fewer there are no quantiles
            return 1000 * sum(self.latencies_seconds)
        return 1000 * statistics.quantiles(self.latencies_seconds, n=100, method="inclusive")[percent - 1]


class Stream:
    """A call that stays open.

    Args:
        channel: it is made on.
        asking: what is called, and with what.
    """

    def __init__(self, channel: RotatingChannel, asking: Asking) -> None:
        self.channel = channel
        self.method = asking[0]
        self.certificate = channel.newest.certificate
        self.has_begun = False  # to be answered: its headers have come
        self._call = start_call(channel, asking[0])(_talk(asking[1]) if asking[0].client_streaming else asking[1])
        self.ending = asyncio.create_task(self._read())

    @property
    def is_open(self) -> bool:
        """Tell whether it has not ended."""
        return not self.ending.done()

    @property
    def shows_an_old_certificate(self) -> bool:
        """Tell whether its channel has taken up another one since."""
        return self.certificate.chain_pem != self.channel.newest.certificate.chain_pem

    async def _read(self) -> str:
        try:
            await self._call.initial_metadata()
            self.has_begun = True
            async for _ in self._call:
                pass
        except grpc.aio.AioRpcError as error:
            return told_by(error)
        return "OK"


class Traffic:
    """Calls all the while, on several channels.

    Args:
        ground: the service that is called.
        unary: what is called at a steady rate.
        streams: what is kept open, one on each channel.
        rate: of unary calls, a second.
        channels: how many.
    """

    def __init__(self, ground: Ground, unary: Asking, streams: Sequence[Asking], rate: float, channels: int) -> None:
        self._ground = ground
        self._unary = unary
        self._asked = list(streams)
        self._rate = rate
        services = list({method.containing_service for method, _ in (unary, *streams)})
        files = ground.files
        self._channels = [
            cast(
                "RotatingChannel",
                connect(
                    ground.target,
                    certificate_file=files.client_certificate,
                    key_file=files.client_key,
                    ca_file=files.ca_certificate,
                    services=services,
                    token=lambda: ground.token,
                    audience=ground.settings.service.name,
                    deadline_seconds=DEADLINE_SECONDS,
                ),
            )
            for _ in range(channels)
        ]
        self._calls = [start_call(channel, unary[0]) for channel in self._channels]
        self._streams: list[Stream] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._expected = grpc.StatusCode.OK
        self._tally = Tally("")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make calls for as long as the context lasts.

        Raises:
            ConfigurationError: the calls are refused already.
        """
        try:
            await self._look()
            pacing = asyncio.create_task(self._keep_calling())
            try:
                yield
            finally:
                pacing.cancel()
                await asyncio.gather(pacing, *self._under_way, return_exceptions=True)
        finally:
            for channel in self._channels:
                await channel.close()
            await asyncio.gather(*(stream.ending for stream in self._streams), return_exceptions=True)

    @asynccontextmanager
    async def step(self, name: str, documented: Callable[[Stream], str], *, anew: bool = False) -> AsyncIterator[Tally]:
        """Count what happens in the context; calls under way at its end are counted, too.

        Args:
            name: of the step.
            documented: gives how a stream has to end, as it is documented; "" for one that must not.
            anew: open a stream beside each one that is open already.
        """
        tally = self._tally = Tally(name)
        await self._open_streams(anew=anew)
        streams = [stream for stream in self._streams if stream.is_open]
        tally.streams_before = len(streams)
        yield tally
        ending = {stream: documented(stream) for stream in streams}
        if going := [stream.ending for stream in streams if ending[stream]]:
            await asyncio.wait(going, timeout=PATIENCE_SECONDS)
        under_way = list(self._under_way)
        self._tally = Tally("between")
        await asyncio.gather(*under_way)
        for stream, expected in ending.items():
            told = "" if stream.is_open else stream.ending.result()
            tally.ended.update([told] if told else [])
            if not (told.startswith(expected) if expected else stream.is_open):
                tally.problems.append(
                    f"{name}: a stream of {stream.method.name} is {told or 'open'}, not {expected or 'open'}"
                )
        tally.streams_after = sum(stream.is_open for stream in streams)

    async def renewed(self) -> None:
        """Return when every channel shows and trusts what the files say now.

        Raises:
            TimeoutError: one does not.
        """
        files = self._ground.files
        want = client_credentials.load(files.client_certificate, files.client_key, files.ca_certificate)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(each.newest.certificate != want for each in self._channels):  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        """Make a call on each channel, to learn how this one is answered, and find streams that stay open."""
        for number in range(len(self._channels)):
            code, told = await self._outcome(number)
            if code not in ANSWERS:
                raise ConfigurationError(f"{self._unary[0].name} is answered {told}; see --method, --data and --as")
            self._expected = code
        await self._open_streams()
        ended = [stream for stream in self._streams if not stream.is_open]
        for stream in ended:
            if (told := stream.ending.result()) != "OK":
                raise ConfigurationError(f"{stream.method.name} is answered {told}; see --method, --data and --as")
        short = {stream.method.full_name for stream in ended}
        self._asked = [asking for asking in self._asked if asking[0].full_name not in short]

    async def _open_streams(self, *, anew: bool = False) -> None:
        self._streams = [stream for stream in self._streams if stream.is_open]
        there = set() if anew else {(stream.channel, stream.method.full_name) for stream in self._streams}
        opened = [
            Stream(channel, asking)
            for asking in self._asked
            for channel in self._channels
            if (channel, asking[0].full_name) not in there
        ]
        self._streams += opened
        if opened:
            await asyncio.sleep(OPENING_SECONDS)

    async def _keep_calling(self) -> None:
        number, started = 0, time.perf_counter()  # finer than the clock of the loop
        while True:
            due = started + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._count(number, due))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            number += 1

    async def _count(self, number: int, due: float) -> None:
        tally = self._tally
        code, told = await self._outcome(number)
        tally.latencies_seconds.append(time.perf_counter() - due)
        if code is not self._expected:
            tally.failed[told] += 1

    async def _outcome(self, number: int) -> tuple[grpc.StatusCode, str]:
        call = self._calls[number % len(self._calls)](self._unary[1])
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code(), told_by(error)
        return grpc.StatusCode.OK, "OK"


def start_call(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    """Return what makes calls of a method, of any kind."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    return getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )


async def _talk(message: Message) -> AsyncIterator[Message]:
    while True:
        yield message
        await asyncio.sleep(TALK_SECONDS)


def told_by(error: grpc.aio.AioRpcError) -> str:
    """Return how a call ended: its status, and the reason or the text that came with it."""
    status = rpc_status.from_call(cast("Any", error))
    info = error_details_pb2.ErrorInfo()
    for packed in status.details if status else ():
        if packed.Unpack(info):
            return f"{error.code().name} {info.reason}"
    return f"{error.code().name} {error.details() or ''}".strip()
