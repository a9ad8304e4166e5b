"""The one object that travels: a call, the method it is for, and who makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc

from secure_rpc import errors
from secure_rpc.caller import Peer, Principal
from secure_rpc.current import current_call, enter
from secure_rpc.headers import Metadata, header_of
from secure_rpc.method import UNLIMITED, Check, Contract, Method, Patience, RawCheck, Review, Wire
from secure_rpc.outcome import CANCELLATION_DELAY_SECONDS, Outcome, outcome_of, seen_to_its_end, tell_all
from secure_rpc.trace_context import Trace, new_call_id

__all__ = [
    "EOF",
    "UNLIMITED",
    "Call",
    "Check",
    "Contract",
    "Metadata",
    "Method",
    "Outcome",
    "Patience",
    "Peer",
    "Principal",
    "RawCheck",
    "Review",
    "Wire",
    "current_call",
    "enter",
]

EOF: Any = grpc.aio.EOF


class Call:
    """One RPC on its way through the chain."""

    __slots__ = (
        "_address",
        "_id",
        "_over",
        "_peer",
        "_raw",
        "_request",
        "_task",
        "_was_cut",
        "auth_began",
        "context",
        "ends_at_seconds",
        "gate",
        "has_begun",
        "metadata",
        "method",
        "noted_fields",
        "path",
        "policy",
        "principal",
        "quotas",
        "raw_checks",
        "refusal",
        "reply",
        "request_checks",
        "response_checks",
        "reviews",
        "rule",
        "seal",
        "session",
        "tenant",
        "trace",
        "unseal",
        "wire",
        "workload",
    )

    def __init__(self, method: Method, path: str, metadata: Metadata) -> None:
        self.method = method
        self.path = path  # as the caller wrote it; equals method.path but for unknown methods
        self.metadata = metadata
        self.context: Any = None  # gRPC's own, for the kernel
        self.wire: Wire | None = None  # None where gRPC itself carries it
        self.ends_at_seconds: float | None = None  # by time.monotonic(); where the server ends it, not the client
        self.auth_began: tuple[str, float] | None = None  # where it is timed: whose identity, and perf_counter()
        self.principal: Principal | None = None
        self.workload = ""  # of the certificate, also where the token was refused
        self.tenant = ""  # whose data the request names; whether the caller may touch it, the outcome says
        self.rule = ""  # of the policy, that allowed or refused the call
        self.policy = ""  # the version that the rule is of
        self.quotas: Mapping[str, Any] = {}  # by class, that the policy gives in place of the settings'
        self.noted_fields: Sequence[tuple[str, str]] = ()  # of the request, for the audit
        self.trace: Trace | None = None  # that it is part of, where that is known
        self.raw_checks: tuple[RawCheck, ...] = ()
        self.request_checks: tuple[Check, ...] = ()
        self.response_checks: tuple[Check, ...] = ()
        self.unseal: Check | None = None  # makes of a request what it was before it was encrypted, in place
        self.seal: Any = None  # makes of a response, once checked, the message that is sent in its place
        self.reviews: tuple[Review, ...] = ()  # of calls that last
        self.session: Any = None  # of a call that lasts: until when it may, and what it tells of that
        self.gate: Any = None  # what messages wait for before they go on, while there is something to wait for
        self.refusal: errors.StatusError | None = None  # ends the call even where a handler swallows it
        self.reply: bytes | None = None
        self.has_begun = False  # to act: its handler was given the request
        self._address = self._id = ""
        self._peer: Peer | None = None
        self._raw: bytes | None = None  # of a unary request whose bytes were checked
        self._request: Any = None
        self._task: asyncio.Task[Any] | None = None  # while the handler of a stream runs
        self._was_cut = False
        self._over: tuple[Callable[[Call], None], ...] = ()

    @property
    def id(self) -> str:
        """Return what the caller, the log and the audit know this call by; unique, and no secret."""
        if not self._id:
            self._id = new_call_id()
        return self._id

    @property
    def address(self) -> str:
        """Return where the call comes from, such as "ipv4:127.0.0.1:40000"."""
        if not self._address:
            self._address = self.context.peer()
        return self._address

    @property
    def peer(self) -> Peer:
        """Return the other end of the connection; what TLS vouches for is costly to read, and read once."""
        if self._peer is None:
            self._peer = Peer(self.address, self.context.auth_context())
        return self._peer

    def header(self, name: str) -> str:
        """Return the value of a metadata entry, empty where there is none; as `header_of` does."""
        return header_of(self.metadata, name)

    def time_remaining(self) -> float | None:
        """Return the seconds until the call must end, for the client or for the server; None where neither minds."""
        if self.ends_at_seconds is not None:  # only ever set to what comes before the client's deadline
            return max(self.ends_at_seconds - time.monotonic(), 0.0)
        return self.context.time_remaining()  # type: ignore[no-any-return]  # gRPC's own is untyped

    def check_raw_requests(self, check: RawCheck) -> None:
        """Have the bytes of each request checked, as they came, before it is decoded; at once if it was."""
        self.raw_checks += (check,)
        if self._request is not None:
            if self._raw is None:  # to go on would be to take for checked what was not
                raise errors.Internal from RuntimeError(f"{self.path}: was read before its bytes could be checked")
            self.check(self._raw, (check,))

    def unseal_requests(self, unseal: Check) -> None:
        """Have each request decrypted, in place, as soon as it is decoded: every check sees what the handler sees."""
        self.unseal = unseal
        if self._request is not None:
            self.check(self._request, (unseal,))

    def check_requests(self, check: Check) -> None:
        """Have each request message checked, after decoding, before the handler sees it."""
        self.request_checks += (check,)

    def check_responses(self, check: Check) -> None:
        """Have each response message checked before it is encoded."""
        self.response_checks += (check,)

    async def request(self) -> Any:
        """Read and decode the message of a unary request, once; unchecked: the handler's copy is checked.

        Raises:
            DeadlineExceeded: it did not come in time.
            InvalidArgument: there is none, or it is malformed.
        """
        if self._request is None:
            patience, task = self.method.patience, self._task or asyncio.current_task()
            patience.begin(task)
            try:
                raw = await self.context.read()
                if raw is EOF:
                    await seen_to_its_end(self.context, self.wire)
            except BaseException as error:
                if patience.end(task, is_cancelled=isinstance(error, asyncio.CancelledError)):
                    raise errors.DeadlineExceeded("the request did not arrive", reason="REQUEST_TIMEOUT") from None
                raise
            patience.end(task)
            if raw is EOF:
                raise errors.InvalidArgument("the request is missing", reason="REQUEST_MISSING")
            self._request = self._decoded(raw)
        return self._request

    async def receive(self, *, or_stop: bool = False) -> Any:
        """Return the next request, decoded and checked; at their end EOF, or else stop who iterates over them.

        A refused message ends the call.
        """
        if self.refusal is not None:
            raise self.refusal
        try:
            if not self.method.request_streaming:
                message = await self.request()
            elif (raw := await self.context.read()) is EOF:
                await seen_to_its_end(self.context, self.wire)
                message = EOF
            else:
                message = self._decoded(raw)
            if self.gate is not None:
                await self.gate.before_receive()
            if message is not EOF:
                self.check(message)
        except errors.StatusError as error:
            self.refusal = self.refusal or error
            raise
        if or_stop and message is EOF:
            raise StopAsyncIteration
        return message

    async def send(self, message: Any) -> None:
        """Check, encode and write one message of a response stream."""
        try:
            if self.gate is not None:
                await self.gate.before_send()
            await self.context.write(self.encode(message))
        except grpc.aio.InternalError:  # the stream broke: be cancelled here, not amid the handler's clean-up
            await asyncio.sleep(CANCELLATION_DELAY_SECONDS)
            raise

    def encode(self, message: Any) -> bytes:
        """Return a response as bytes, checked; every message that leaves goes through here.

        Raises:
            StatusError: the call was refused before, or a check refuses the message.
            Internal: the message is not of the type that the method promised.
            ResourceExhausted: it is too large; gRPC would refuse it too, after the call was recorded as a success.
        """
        if self.refusal is not None:
            raise self.refusal
        expected = self.method.response_type
        if expected is not None and type(message) is not expected:
            answered = f"{self.path} must answer {expected.__name__}, not {type(message).__name__}"
            raise errors.Internal from TypeError(answered)
        for check in self.response_checks:
            check(message)
        if self.seal is not None:
            message = self.seal(message)
        encoded = self.method.encode(message)
        if len(encoded) > self.method.max_response_bytes:
            most = f"a response may have {self.method.max_response_bytes} bytes"
            raise errors.ResourceExhausted(most, reason="RESPONSE_TOO_LARGE")
        return encoded

    def review_with(self, review: Review) -> None:
        """Have it looked at again, whenever what let a stream begin may have changed, whether it may go on."""
        self.reviews += (review,)

    def cut(self, error: errors.StatusError) -> None:
        """End the call from outside of its task: now where its handler runs, else before it does."""
        if self.refusal is None:
            self.refusal = error
            if self._task is not None:
                self._was_cut = True
                self._task.cancel()

    def enter_handler(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Let the call be cut from here on, until it is settled; the loop is the running one, where it is known."""
        self._task = asyncio.current_task(loop) or asyncio.current_task()

    def settle(self) -> bool:
        """Tell whether the task was cancelled to cut the call, and by nobody else; take that cancellation back."""
        task, self._task = self._task, None
        if not self._was_cut or task is None or task.cancelling() != 1:
            return False
        task.uncancel()  # the caller waits for an answer
        return True

    @property
    def is_under_way(self) -> bool:
        """Tell whether the call has not ended, for those who outlive it."""
        return self.request_checks is not _ENDED

    def when_over(self, tell: Callable[[Call], None]) -> None:
        """Have somebody told when the call is over, in place of a stage that waits for that."""
        self._over += (tell,)

    def end(self) -> None:
        """Let go of the checks: one that knows the call would keep it, and all of gRPC's below it, for long."""
        self.request_checks = self.response_checks = _ENDED
        self.raw_checks = self.reviews = ()
        self._raw = None
        over, self._over = self._over, ()
        tell_all(over, self)

    def outcome(self, error: BaseException | None) -> Outcome:
        """Name what `await proceed(call)` ended with, for those who count and record."""
        return outcome_of(error, self.time_remaining)

    def check(self, message: Any, checks: Iterable[Check] | None = None) -> None:
        """Have a request checked; a check that fails by itself refuses too, and no handler can swallow that."""
        try:
            for check in self.request_checks if checks is None else checks:
                check(message)
        except errors.StatusError:
            raise
        except Exception as error:
            raise errors.Internal from error

    def _decoded(self, raw: bytes) -> Any:
        if len(raw) > self.method.max_request_bytes:
            most = f"a request may have {self.method.max_request_bytes} bytes"
            raise errors.ResourceExhausted(most, reason="REQUEST_TOO_LARGE")
        if self.raw_checks:
            self.check(raw, self.raw_checks)
            self._raw = None if self.method.request_streaming else raw
        try:
            message = self.method.decode(raw)
        except Exception as error:
            raise errors.InvalidArgument("the request is malformed", reason="REQUEST_MALFORMED") from error
        if self.unseal is not None:
            self.check(message, (self.unseal,))
        return message


def _refuse_late(_message: Any) -> None:
    raise errors.Cancelled("the call has ended")


_ENDED: tuple[Check, ...] = (_refuse_late,)
