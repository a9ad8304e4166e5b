"""A channel that goes on through new certificates: new calls take the new one, calls under way end on the old.

gRPC takes credentials as they are when a channel is made. So there is one of its channels for each version of the
files, and this one, which stubs are made of once, sends each call to the newest that reaches the server.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import grpc

from secure_rpc.call import current_call
from secure_rpc.client_status import await_servers_word
from secure_rpc.configuration import ConfigurationError
from secure_rpc.telemetry.propagation import outgoing
from secure_rpc.tls.client_credentials import ClientCertificate
from secure_rpc.watching import FileWatch

READY_SECONDS = 10.0  # for the server to be reached with a new certificate, before that is said
MARGIN_SECONDS = 0.05  # of the time left to a call that is left to its own answer, when it calls others
PAST_SECONDS = -1.0  # gRPC counts in milliseconds and rounds up: within the first of them it would still send a call

# Takes the arguments by which a callable is made, and returns them, with what signs its calls, if anything
Adapt: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any], Any]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for calls that do not say it themselves."""

    deadline_seconds: float  # of unary calls
    wait_for_ready: bool


class RotatingChannel(grpc.aio.Channel):
    """A channel whose certificate is renewed under way.

    Args:
        certificate: to begin with.
        open_channel: makes a channel of gRPC's with a certificate.
        load: reads the files; raises ConfigurationError.
        watch: of these files, made before they were read.
        defaults: for calls.
        grace_seconds: how long calls may go on with a certificate that has been replaced.
        adapt: has a say in how the callables of methods are made.
        clock: gives Unix time in seconds.
    """

    def __init__(  # each is a choice of its own
        self,
        certificate: ClientCertificate,
        open_channel: Callable[[ClientCertificate], grpc.aio.Channel],
        load: Callable[[], ClientCertificate],
        watch: FileWatch,
        *,
        defaults: Defaults,
        grace_seconds: float,
        adapt: Adapt = lambda said, named: (said, named, None),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open = open_channel
        self._load = load
        self._watch = watch
        self._grace_seconds = grace_seconds
        self._clock = clock
        self.defaults = defaults
        self.adapt = adapt
        self.newest = _Generation(open_channel(certificate), certificate)
        self._switched = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._rotating: asyncio.Task[None] | None = None
        self._retiring: dict[_Generation, asyncio.Task[None]] = {}
        if expired := certificate.expired(clock):  # there is nothing better to go on with, but a new one may come
            logger.error("the client's certificate will be refused: %s", expired)

    async def __aenter__(self) -> Self:
        """Watch the files from now on, not from the first call on."""
        self.keep_fresh()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, without grace."""
        await self.close()

    def __del__(self) -> None:
        """Let go of the files; what gRPC holds lets go by itself."""
        with suppress(AttributeError, RuntimeError):  # it was never whole; the loop has ended before
            self._stop_watching()

    async def close(self, grace: float | None = None) -> None:
        """Take no more calls, and end those under way.

        Args:
            grace: seconds for which these may go on.
        """
        self._stop_watching()
        for task in self._retiring.values():
            task.cancel()
        await asyncio.gather(self.newest.channel.close(grace), *(old.close(grace) for old in self._retiring))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002  # as gRPC has it
        """Return the state of the newest channel."""
        return self.newest.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the state is another, be it that of another channel."""
        while self.get_state() is last_observed_state:
            waits = [
                asyncio.ensure_future(self.newest.channel.wait_for_state_change(last_observed_state)),
                asyncio.ensure_future(self._switched.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def channel_ready(self) -> None:
        """Return when the server is reached."""
        self.keep_fresh()
        while (state := self.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            await self.wait_for_state_change(state)

    def unary_unary(self, method: str, *said: Any, **named: Any) -> Any:
        """Return what makes calls of a method."""
        return _UnaryUnary(self, "unary_unary", (method, *said), named)

    def unary_stream(self, method: str, *said: Any, **named: Any) -> Any:
        """Return what makes calls of a method."""
        return _UnaryStream(self, "unary_stream", (method, *said), named)

    def stream_unary(self, method: str, *said: Any, **named: Any) -> Any:
        """Return what makes calls of a method."""
        return _StreamUnary(self, "stream_unary", (method, *said), named)

    def stream_stream(self, method: str, *said: Any, **named: Any) -> Any:
        """Return what makes calls of a method."""
        return _StreamStream(self, "stream_stream", (method, *said), named)

    def keep_fresh(self) -> None:
        """Watch the files, unless they are watched."""
        if self._watching is not None:
            return
        channel = weakref.ref(self)  # the watch must not be what keeps a forgotten channel alive

        async def take_up(_changed: object) -> None:
            if this := channel():
                await this._take_up()  # noqa: SLF001

        # in a context of its own: made in a handler, it would hold on to that call for ever
        self._watching = asyncio.get_running_loop().create_task(self._watch.run(take_up), context=Context())

    def _stop_watching(self) -> None:
        for task in (self._watching, self._rotating):
            if task is not None:
                task.cancel()

    async def _take_up(self) -> None:
        """Begin to use what the files say now, if it is any good."""
        try:
            certificate = await asyncio.to_thread(self._load)
            if expired := certificate.expired(self._clock):
                raise ConfigurationError(expired)  # noqa: TRY301  # told as the others are
        except ConfigurationError as error:
            logger.error("the client's new certificate is not used, the old one stays: %s", error)  # noqa: TRY400
            return
        if self._rotating is not None:
            self._rotating.cancel()
        self._rotating = None
        if certificate != self.newest.certificate:
            self._rotating = asyncio.create_task(self._rotate(certificate))

    async def _rotate(self, certificate: ClientCertificate) -> None:
        """Switch as soon as the server is reached, at once where there is no sense in staying."""
        candidate = _Generation(self._open(certificate), certificate)
        try:
            while self._may_stay(certificate) and not await candidate.is_ready():
                logger.warning("the server is not reached with the new certificate, the old one stays until it is")
        except asyncio.CancelledError:
            await candidate.channel.close()
            raise
        old, self.newest = self.newest, candidate
        switched, self._switched = self._switched, asyncio.Event()
        switched.set()
        self._retiring[old] = asyncio.create_task(self._retire(old))
        logger.info("the client's certificate was renewed")

    def _may_stay(self, certificate: ClientCertificate) -> bool:
        """Tell whether calls may go on as before: they get through, and nobody is trusted who is not any more."""
        return (
            self.newest.channel.get_state() is grpc.ChannelConnectivity.READY
            and self.newest.certificate.authorities <= certificate.authorities
            and not self.newest.certificate.expired(self._clock)
        )

    async def _retire(self, old: _Generation) -> None:
        await old.close(self._grace_seconds)
        del self._retiring[old]


class _Generation:
    """A channel of gRPC's, with the certificate that it was made with, and a count of its calls."""

    def __init__(self, channel: grpc.aio.Channel, certificate: ClientCertificate) -> None:
        self.channel = channel
        self.certificate = certificate
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, call: Any) -> None:
        """Count a call, until it ends."""
        self._under_way += 1
        self._idle.clear()
        call.add_done_callback(self._end)

    def _end(self, _call: object) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def is_ready(self) -> bool:
        """Tell whether the server is reached soon; TLS 1.3 servers have looked at our certificate by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                await self.channel.channel_ready()
                return True
        return False

    async def close(self, grace_seconds: float | None) -> None:
        """Close when the calls under way have ended, after the grace at the latest.

        gRPC's own grace cannot be cut short: a channel that is closing takes no second word.
        """
        if grace_seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._idle.wait()
        await self.channel.close()


class _MultiCallable:
    """Makes calls of one method, each on the channel that is the newest by then."""

    def __init__(self, channel: RotatingChannel, kind: str, said: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._channel = channel
        self._kind = kind
        self._said, self._named, self._sign = channel.adapt(said, named)
        self._generation: _Generation | None = None
        self._begin: Any = None

    def __call__(  # as gRPC has it
        self,
        request: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,  # noqa: FBT001
        compression: Any = None,
    ) -> Any:
        generation, defaults = self._channel.newest, self._channel.defaults
        if generation is not self._generation:
            self._channel.keep_fresh()
            self._generation = generation
            self._begin = getattr(generation.channel, self._kind)(*self._said, **self._named)
        if timeout is None and self._kind == "unary_unary":
            timeout = defaults.deadline_seconds
        if self._sign is not None:
            request, credentials = self._sign(request, generation.certificate, metadata, credentials)
        call = self._begin(
            request,
            timeout=_within_current_call(timeout),
            metadata=outgoing(metadata),
            credentials=credentials,
            wait_for_ready=defaults.wait_for_ready if wait_for_ready is None else wait_for_ready,
            compression=compression,
        )
        if self._kind.startswith("stream"):
            await_servers_word(call)
        generation.begin(call)
        return call


class _UnaryUnary(_MultiCallable, grpc.aio.UnaryUnaryMultiCallable[Any, Any]): ...


class _UnaryStream(_MultiCallable, grpc.aio.UnaryStreamMultiCallable[Any, Any]): ...


class _StreamUnary(_MultiCallable, grpc.aio.StreamUnaryMultiCallable[Any, Any]): ...


class _StreamStream(_MultiCallable, grpc.aio.StreamStreamMultiCallable[Any, Any]): ...


def _within_current_call(timeout_seconds: float | None) -> float | None:
    """Return a timeout that leaves a handler which calls others the time to say how that went."""
    try:
        call = current_call()
    except LookupError:
        return timeout_seconds
    remaining = call.time_remaining() if call.is_under_way else None
    if remaining is None:
        return timeout_seconds
    left = remaining - MARGIN_SECONDS
    if left <= 0:
        return PAST_SECONDS
    return left if timeout_seconds is None else min(timeout_seconds, left)
