"""A call with an idempotency key runs once; made again, it is answered as it was, or refused.

The key is the caller's own, for one method and one request: with another request it is refused. What was refused before
its handler had the request has done nothing, and may be made again under the same key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

import grpc
from google.rpc import status_pb2

from secure_rpc import errors
from secure_rpc.call import Call
from secure_rpc.chain import Proceed
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.nonces import digest
from secure_rpc.state.outcomes import Attempt, Begun, OutcomeStore, Standing

KEY = "idempotency-key"
ANSWERED_AGAIN = ("idempotent-replay", "true")  # in the trailing metadata of what was not run again
RETRY_AFTER = timedelta(seconds=1)
# A handler that ends so says that nothing was done, or nobody can tell
NOTHING_DONE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED})
NOT_KNOWN = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
_FORM = re.compile(r"[A-Za-z0-9_.:-]{16,128}", re.ASCII)
_GOOD, _REFUSED = b"\0", b"\1"  # with what a kept outcome begins

logger = logging.getLogger(__name__)


async def _nothing() -> None:
    """Check nothing."""


class Idempotency:
    """Run calls by their keys.

    Args:
        store: remembers what became of them.
        lease_seconds: after which a call that did not end is given up: nobody knows what came of it.
        lifetime_seconds: for which all is remembered.
        max_outcome_bytes: of what is kept; a larger one is refused when it is asked for again.
        answers: whether a call that was made before is answered as it was, not refused.
        on_answer: is told of each call that was answered without being run.
    """

    def __init__(
        self,
        store: OutcomeStore,
        *,
        lease_seconds: float,
        lifetime_seconds: float,
        max_outcome_bytes: int,
        answers: bool = True,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._lifetime_seconds = lifetime_seconds
        self._max_outcome_bytes = max_outcome_bytes
        self._answers = answers
        self._on_answer = on_answer
        self._ending: set[asyncio.Task[None]] = set()  # what goes on although its call was cancelled

    async def run(
        self, call: Call, key: str, proceed: Proceed, check_first: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        """Run a call, unless it has run.

        Args:
            call: of a unary method.
            key: of the caller's own.
            proceed: runs it.
            check_first: refuses a call whose key is new here, but which may have been made before this was remembered.

        Raises:
            StatusError: it may not run, or it ended so, now or the first time.
        """
        if not _FORM.fullmatch(key):
            raise errors.InvalidArgument(
                f"{KEY} is 16 to 128 of A-Z a-z 0-9 _ . : -", reason="IDEMPOTENCY_KEY_MALFORMED"
            )
        attempt = await self._attempt(call, key)
        try:
            begun = await self._store.begin(attempt, self._lease_seconds, self._lifetime_seconds)
        except StoreUnavailable as error:
            raise errors.Unavailable(reason="REPLAY_STORE_UNAVAILABLE") from error
        if begun.standing is not Standing.NEW:
            if begun.standing is Standing.DONE:  # what it names may not be the caller's any more
                await call.receive()
            self._answer(call, begun)
            return
        try:
            await check_first()
            await proceed(call)
        except BaseException as error:
            await self._ended(self._after(call, attempt, error))
            raise
        standing, outcome = self._kept(_GOOD + (call.reply or b""))
        await self._ended(self._store.end(attempt, standing, outcome))

    async def _attempt(self, call: Call, key: str) -> Attempt:
        raw = hashlib.sha256()
        call.check_raw_requests(raw.update)
        request = await call.request()
        # what is encrypted is other bytes each time; and a plain digest of a secret can be found by trying
        same = raw.digest() if call.unseal is None else _digest_of(request, key)
        who = call.principal.account if call.principal else ""
        return Attempt(digest(f"{who} {call.method.path} {key}"), same, secrets.token_hex(8))

    def _answer(self, call: Call, begun: Begun) -> None:
        """Answer a call that was made before."""
        if begun.standing is Standing.RUNNING:
            raise errors.Aborted(
                "a call with this key is under way",
                reason="IDEMPOTENCY_IN_PROGRESS",
                details=[errors.retry_after(RETRY_AFTER)],
            )
        if begun.standing is Standing.ANOTHER:
            raise errors.InvalidArgument("this key was used for another request", reason="IDEMPOTENCY_KEY_REUSED")
        if begun.standing is Standing.UNKNOWN:
            raise errors.FailedPrecondition(
                "a call with this key was begun, and what came of it is not known; look before you use another key",
                reason="IDEMPOTENCY_OUTCOME_UNKNOWN",
            )
        if begun.standing is Standing.KEPT_NOT or not self._answers:
            raise errors.AlreadyExists("a call with this key was made before", reason="IDEMPOTENCY_KEY_USED")
        self._on_answer()
        call.rule = f"{call.rule}; answered as it was before"
        kind, kept = begun.outcome[:1], begun.outcome[1:]
        if kind == _GOOD:
            call.context.set_trailing_metadata((*call.context.trailing_metadata(), ANSWERED_AGAIN))
            call.reply = kept
            return
        status = status_pb2.Status.FromString(kept)
        error = errors.of(status.code, status.message, ((errors.STATUS_DETAILS_KEY, kept), ANSWERED_AGAIN))
        error.recorded_reason = "ANSWERED_AGAIN"
        raise error

    async def _after(self, call: Call, attempt: Attempt, error: BaseException) -> None:
        """Note how a call ended that did not end well."""
        refusal = error if isinstance(error, errors.StatusError) else None
        if not call.has_begun or (refusal is not None and refusal.code in NOTHING_DONE):
            await self._store.release(attempt)
        elif refusal is None or refusal.code in NOT_KNOWN:
            await self._store.end(attempt, Standing.UNKNOWN)
        else:
            standing, outcome = self._kept(_REFUSED + _status_of(refusal))
            await self._store.end(attempt, standing, outcome)

    def _kept(self, outcome: bytes) -> tuple[Standing, bytes]:
        return (Standing.DONE, outcome) if len(outcome) <= self._max_outcome_bytes else (Standing.KEPT_NOT, b"")

    async def _ended(self, noting: Coroutine[Any, Any, None]) -> None:
        """Note an end, also where the call is cancelled meanwhile; what cannot be noted is unknown after the lease."""
        task = asyncio.ensure_future(noting)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        try:
            await asyncio.shield(task)
        except StoreUnavailable as error:
            logger.error("what came of a call with an idempotency key could not be noted: %s", error)  # noqa: TRY400


def _digest_of(request: Any, key: str) -> bytes:
    content: bytes = request.SerializeToString(deterministic=True)
    return hmac.digest(key.encode(), content, "sha256")


def _status_of(refusal: errors.StatusError) -> bytes:
    """Return a refusal as its caller was told it, whoever gave its reason a meaning."""
    for key, value in refusal.trailing_metadata():
        if key == errors.STATUS_DETAILS_KEY and isinstance(value, bytes):
            return value
    bare: bytes = status_pb2.Status(code=refusal.code.value[0], message=refusal.message).SerializeToString()
    return bare
