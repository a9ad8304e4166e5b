"""Stages that tell how the calls went, and small ones in place of the platform's own."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from secure_rpc import errors
from secure_rpc.call import Call, Method, Outcome, Principal
from secure_rpc.chain import Middleware, Proceed

from support.acts import SECRET


class Around:
    """One middleware around every method."""

    def __init__(self, middleware: Middleware) -> None:
        self._middleware = middleware

    def bind(self, _method: Method) -> Middleware:
        return self._middleware


class Record(NamedTuple):
    """How a call ended, as the server knows it."""

    path: str
    outcome: Outcome
    subject: str
    call_id: str


class Audit:
    """Record each call as it ends."""

    def __init__(self) -> None:
        self.records: asyncio.Queue[Record] = asyncio.Queue()

    def bind(self, _method: Method) -> Middleware:
        async def record(call: Call, proceed: Proceed) -> None:
            error: BaseException | None = None
            try:
                await proceed(call)
            except BaseException as caught:
                error = caught
                raise
            finally:
                subject = call.principal.subject if call.principal else ""
                self.records.put_nowait(Record(call.path, call.outcome(error), subject, call.id))

        return record


class Boundary:
    """Turn a stage that fails into a StatusError, so that those above know how the call ended."""

    def bind(self, _method: Method) -> Middleware:
        async def guard(call: Call, proceed: Proceed) -> None:
            try:
                await proceed(call)
            except errors.StatusError:
                raise
            except Exception as error:
                raise errors.Internal from error

        return guard


class Authentication:
    """Take the caller's word for its name."""

    def bind(self, _method: Method) -> Middleware:
        async def authenticate(call: Call, proceed: Proceed) -> None:
            name = call.header("authorization")
            if name == "the stage fails":
                raise KeyError(SECRET)
            if not name:
                raise errors.Unauthenticated(reason="NO_TOKEN")
            call.principal = Principal(subject=name, proofs=("token",))
            await proceed(call)

        return authenticate


class Validation:
    """Refuse the messages that say so, in and out; binds only where there is a proto."""

    def bind(self, method: Method) -> Middleware | None:
        if method.descriptor is None:
            return None

        def check(message: Any) -> None:
            if getattr(message, "act", "") == "invalid":
                raise errors.InvalidArgument(reason="INVALID", details=[errors.bad_request({"act": "must be valid"})])
            if getattr(message, "text", "") == "leak":
                raise errors.Internal(reason="RESPONSE_BLOCKED")

        async def validate(call: Call, proceed: Proceed) -> None:
            call.check_requests(check)
            call.check_responses(check)
            await proceed(call)

        return validate


class Sessions:
    """Hold every call in a timeout that others may move.

    A handler can swallow the cancellation that a timeout sends; the refusal keeps its answer from leaving all the same.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)  # one more for each call
        self.live: dict[Call, asyncio.Timeout] = {}

    def cut(self) -> None:
        """End every session now."""
        for call, timeout in self.live.items():
            call.refusal = errors.Unauthenticated(reason="SESSION_ENDED")
            timeout.reschedule(asyncio.get_running_loop().time())

    def bind(self, _method: Method) -> Middleware:
        async def hold(call: Call, proceed: Proceed) -> None:
            try:
                async with asyncio.timeout(60) as timeout:
                    self.live[call] = timeout
                    self.begun.release()
                    await proceed(call)
            except TimeoutError:
                if not timeout.expired():
                    raise
                raise errors.Unauthenticated(reason="SESSION_ENDED") from None
            finally:
                del self.live[call]

        return hold
