"""A source of numbered messages behind real TLS, whose calls end as a test has planned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from secure_rpc import errors
from secure_rpc.client import connect
from secure_rpc.v1 import session_pb2, session_pb2_grpc

from support.certificates import Certificates

EXPIRED = errors.Unauthenticated(reason="TOKEN_EXPIRED")
WATCH = "/feed.Feed/Watch"


@dataclass(frozen=True)
class Turn:
    """How one call goes."""

    messages: int | None = None  # after which it ends; None for all that ever come
    ending: errors.StatusError | None = None  # how it ends then; None for OK
    expires_at: float | None = None  # Unix time in seconds, if it is announced
    session_id: str = ""
    again: int = 0  # how many messages come twice
    skip: int = 0  # how many are left out at its beginning
    shift: int = 0  # how many come from before the cursor


@dataclass
class Feed(grpc.GenericRpcHandler):
    """Stream the numbers of a list after the one that is asked for, as its turns have it, then without end."""

    numbers: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    is_complete: bool = False  # the calls without a turn of their own end with the last number
    cursors: list[int] = field(default_factory=list)  # that were asked with
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    before_ending: Callable[[], None] = lambda: None  # done before an error is told
    under_way: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(self._watch) if details.method == WATCH else None

    def add(self, *numbers: int) -> None:
        """Have more numbers."""
        self.numbers += numbers
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

    async def _watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        cursor = int(request)
        turn = self.turns.pop(0) if self.turns else Turn()
        self.cursors.append(cursor)
        self.under_way += 1
        self.idle.clear()
        try:
            await _announce(turn, context)
            async for number in self._tell(turn, cursor):
                yield b"%d" % number
            if turn.ending is not None:
                self.before_ending()
                code, message = turn.ending.code, turn.ending.message
                await context.abort(code, message, turn.ending.trailing_metadata())
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()

    async def _tell(self, turn: Turn, cursor: int) -> AsyncIterator[int]:
        told, again = 0, turn.again
        place = next((i for i, number in enumerate(self.numbers) if number > cursor), len(self.numbers))
        place = max(place - turn.shift, 0) + turn.skip
        while turn.messages is None or told < turn.messages:
            grown = self.grown
            if place < len(self.numbers):
                yield self.numbers[place]
                told += 1
                place += 1
                if again and told == again:
                    place, again = place - again, 0
            elif self.is_complete:
                return
            else:
                await grown.wait()


async def _announce(turn: Turn, context: Any) -> None:
    if turn.expires_at is not None:
        announced = [("session-expires-at", str(int(turn.expires_at)))]
        if turn.session_id:
            announced.append(("session-id", turn.session_id))
        await context.send_initial_metadata(tuple(announced))


@dataclass
class Refreshing(session_pb2_grpc.SessionServiceServicer):
    """Extend every session to what a test gives, or refuse to."""

    answers: list[float | errors.StatusError]  # the last one stays
    asked: list[str] = field(default_factory=list)

    async def Refresh(self, request: session_pb2.RefreshRequest, context: Any) -> session_pb2.RefreshResponse:
        self.asked.append(request.session_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        response = session_pb2.RefreshResponse()
        if isinstance(answer, errors.StatusError):
            await context.abort(answer.code, answer.message, answer.trailing_metadata())
        else:
            response.expires_at.FromMicroseconds(int(answer * 1e6))
        return response


@dataclass
class Source:
    """A server with a feed, and a channel to it."""

    certificates: Certificates
    feed: Feed
    refreshing: Refreshing | None = None
    port: int = 0

    async def __aenter__(self) -> Self:
        await self.start()
        self.channel = connect(
            f"127.0.0.1:{self.port}",
            certificate_file=self.certificates.client,
            key_file=self.certificates.key_of(self.certificates.client),
            ca_file=self.certificates.authority,
            server_name="localhost",
        )
        self.watch: Any = self.channel.unary_stream(WATCH)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(None)

    async def start(self) -> None:
        """Start, on the port that it had before, if any."""
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((self.feed,))
        if self.refreshing is not None:
            add: Any = session_pb2_grpc.add_SessionServiceServicer_to_server
            add(self.refreshing, self.server)
        self.port = self.server.add_secure_port(f"127.0.0.1:{self.port}", self.certificates.credentials()[0])
        await self.server.start()

    def open_call(self, cursor: Any) -> Any:
        """Begin a call."""
        return self.watch(b"%d" % cursor)


def unavailable(retry_seconds: float | None = None) -> errors.StatusError:
    """Return the error of a server that goes away, and may say for how long."""
    details: Iterable[Message] = () if retry_seconds is None else [errors.retry_after(timedelta(seconds=retry_seconds))]
    return errors.Unavailable(details=details)


@dataclass
class Sleeps:
    """Lets time pass at once, and remembers how much of it was asked for; what is longer than `longest` never ends."""

    clock: Any
    longest: float = float("inf")
    seconds: list[float] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if seconds > self.longest:
            await asyncio.Event().wait()
        self.clock.pass_(seconds)
        await (self.meanwhile() if self.meanwhile else asyncio.sleep(0))
