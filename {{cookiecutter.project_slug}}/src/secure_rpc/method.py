"""What is known before any call: a method's name and kind, what it asks of callers, what may be asked of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.descriptor import MethodDescriptor

Check: TypeAlias = Callable[[Any], None]  # sees one message; raises a StatusError to refuse it
RawCheck: TypeAlias = Callable[[bytes], None]  # sees one message before it is decoded; raises to refuse it
Review: TypeAlias = Callable[[], None]  # raises a StatusError where the call may not go on
Finish: TypeAlias = Callable[[bytes | None], Awaitable[None]]  # puts the end of a call on the wire, its reply before it
UNLIMITED = 2**63


class Patience:
    """A timeout for those who all wait equally long: one timer in all, where `asyncio.timeout` takes one each.

    Args:
        seconds: how long each may wait.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[asyncio.Task[Any] | None, float] = {}  # oldest first
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Return what is awaited.

        Raises:
            TimeoutError: it took too long.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        cancelling_before = task.cancelling() if task else 0
        self._waiting[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._expire, loop)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task is None or task in self._waiting or task.cancelling() > cancelling_before + 1:
                raise
            raise TimeoutError from None
        finally:
            if self._waiting.pop(task, None) is None and task is not None:  # expired: that cancellation was ours
                task.uncancel()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for task, deadline in list(self._waiting.items()):
            if deadline > loop.time():
                self._timer = loop.call_at(deadline, self._expire, loop)
                break
            del self._waiting[task]
            if task is not None:
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
