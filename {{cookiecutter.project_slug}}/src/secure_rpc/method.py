"""What is known before any call: a method's name and kind, what it asks of callers, what may be asked of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from google.protobuf.descriptor import MethodDescriptor

Check: TypeAlias = Callable[[Any], None]  # sees one message; raises a StatusError to refuse it
RawCheck: TypeAlias = Callable[[bytes], None]  # sees one message before it is decoded; raises to refuse it
Review: TypeAlias = Callable[[], None]  # raises a StatusError where the call may not go on
UNLIMITED = 2**63


class Wire(Protocol):
    """What carries a call."""

    def finish(self, reply: bytes | None) -> Awaitable[None]:
        """Put the end of the call on the wire: its reply, if it has one, and the status that its context was given."""

    def watch(self) -> None:
        """See from now on whether the client leaves, and cancel the task that serves the call if so."""


class Patience:
    """A timeout for those who all wait equally long: one timer in all, where `asyncio.timeout` takes one each.

    A task waits once at a time.

    Args:
        seconds: how long each may wait.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # until when, and how often the task had been cancelled before; oldest first
        self._waiting: dict[asyncio.Task[Any] | None, tuple[float, int]] = {}
        self._expired: dict[asyncio.Task[Any] | None, int] = {}  # the same count of those that were cancelled here
        self._loop: asyncio.AbstractEventLoop | None = None  # to ask Python for it each time takes a system call
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Return what is awaited.

        Raises:
            TimeoutError: it took too long.
        """
        task = asyncio.current_task()
        self.begin(task)
        try:
            done = await awaitable
        except BaseException as error:
            if self.end(task, is_cancelled=isinstance(error, asyncio.CancelledError)):
                raise TimeoutError from None
            raise
        self.end(task)
        return done

    def begin(self, task: asyncio.Task[Any] | None) -> None:
        """Have the running task cancelled if it waits for too long, from now to `end`."""
        loop = self._loop
        if loop is None or self._timer is None:  # the first to wait, in this loop at least
            loop = self._loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._expire, loop)
        self._waiting[task] = loop.time() + self._seconds, task.cancelling() if task is not None else 0

    def end(self, task: asyncio.Task[Any] | None, *, is_cancelled: bool = False) -> bool:
        """Tell whether the task was cancelled here, and by nobody else; take that cancellation back.

        Args:
            task: as above.
            is_cancelled: whether its wait has ended by that.
        """
        if self._waiting.pop(task, None) is not None or task is None:
            return False
        cancelled_before, left = self._expired.pop(task), task.uncancel()
        return is_cancelled and left <= cancelled_before

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for task, (deadline, cancelled_before) in list(self._waiting.items()):
            if deadline > loop.time():
                self._timer = loop.call_at(deadline, self._expire, loop)
                break
            del self._waiting[task]
            if task is not None:
                self._expired[task] = cancelled_before
                task.cancel()


@dataclass(frozen=True, slots=True)
class Contract:
    """What a method asks of its caller: `secure_rpc.v1.Access`, read from its proto or from the settings."""

    public: bool = False
    permissions: tuple[str, ...] = ()  # all of them
    any_permissions: tuple[str, ...] = ()  # one of them
    tenant_field: str = ""
    replay_protected: bool = False
    quota_class: str = ""
    max_request_bytes: int = 0  # 0: the limit of the settings
    audit_fields: tuple[str, ...] = ()
    signed: bool = False
    any_caller: bool = False  # whose identity is verified

    @property
    def is_guarded(self) -> bool:
        """Tell whether the policy says who may call the method."""
        return not (self.public or self.any_caller)


@dataclass(frozen=True, slots=True)
class Method:
    """What is known of a method before any call: its name, its kind, its descriptor and its contract."""

    path: str  # "/package.Service/Method", "" for every method that does not exist
    patience: Patience
    request_streaming: bool = True
    response_streaming: bool = True
    descriptor: MethodDescriptor | None = None
    contract: Contract = field(default_factory=Contract)
    decode: Callable[[bytes], Any] = bytes
    encode: Callable[[Any], bytes] = bytes
    response_type: type[Any] | None = None
    max_request_bytes: int = UNLIMITED
    max_response_bytes: int = UNLIMITED

    @property
    def service(self) -> str:
        """Return "package.Service"."""
        return self.path[1:].rpartition("/")[0]

    @property
    def kind(self) -> str:
        """Return the kind of the RPC, in the words of gRPC's own telemetry."""
        if self.request_streaming:
            return "bidi_stream" if self.response_streaming else "client_stream"
        return "server_stream" if self.response_streaming else "unary"
