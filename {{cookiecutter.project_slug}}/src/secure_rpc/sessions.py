"""The service by which the owner of a stream lets it outlive the credential that it began with."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from secure_rpc import errors
from secure_rpc.call import Call, Metadata, Principal, current_call
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.stages.sessions import Sessions
from secure_rpc.state.sessions import Extension, Owner, SessionRecord
from secure_rpc.telemetry.session_metrics import SessionMetrics
from secure_rpc.v1 import session_pb2 as pb
from secure_rpc.v1 import session_pb2_grpc as pb_grpc

SECOND_LOOK_SECONDS = 0.1  # a session is made known to other replicas just after its caller has learnt of it

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


class SessionRefresh(pb_grpc.SessionServiceServicer):
    """Extend sessions, those of other replicas too.

    Args:
        sessions: those of this process, and the way to the others'.
        policy: says whether the new principal may do what the stream does.
        metrics: for how the calls ended.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        sessions: Sessions,
        policy: ActivePolicy,
        metrics: SessionMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._policy = policy
        self._metrics = metrics
        self._clock = clock

    async def Refresh(self, request: pb.RefreshRequest, _context: Any) -> pb.RefreshResponse:
        """Return until when the session may go on: to the end of the credential shown, and never less than before."""
        try:
            before, until = await self._refresh(request.session_id, current_call())
        except errors.StatusError as error:
            result = {"SESSION_NOT_FOUND": "not_found", "PERMISSION_MISSING": "denied"}
            self._metrics.refreshes.labels(result.get(error.reason, "unavailable")).inc()
            raise
        self._metrics.refreshes.labels("extended" if until > before else "unchanged").inc()
        return pb.RefreshResponse(expires_at=Timestamp(seconds=int(until)))

    async def _refresh(self, session_id: str, call: Call) -> tuple[float, float]:
        """Return until when the session could go on before, and until when it can now."""
        principal = call.principal
        if principal is None:
            raise errors.Unauthenticated(reason="IDENTITY_MISSING")
        record = await self._find(session_id, principal) or await self._find_late(session_id, principal)
        here = self._sessions.find(session_id)
        self._check_policy(record, principal, (here.call if here is not None else call).metadata)
        until = min(principal.expires_at_seconds, record.latest_seconds)
        extension = Extension(principal, call.peer, until)
        if here is not None:
            return record.expires_at_seconds, self._sessions.take_up(here, extension)
        extended = await self._extend(session_id, extension)
        if extended is None:
            raise _not_found()
        return record.expires_at_seconds, extended

    async def _find(self, session_id: str, principal: Principal) -> SessionRecord | None:
        """Return a session, if it is the principal's and has not ended."""
        if not _ID.fullmatch(session_id):
            return None
        here, store = self._sessions.find(session_id), self._sessions.store
        record: SessionRecord | None = None
        if here is not None:
            if here.owner == Owner.of(principal):
                await here.settled()  # at its end it is asked whether it goes on: until then, it has not ended
            record = here.record
        elif store is not None:
            try:
                record = await store.read(session_id)
            except ConnectionError as error:
                raise _unavailable() from error
        if record is None or record.owner != Owner.of(principal) or record.expires_at_seconds <= self._clock():
            return None
        return record

    async def _find_late(self, session_id: str, principal: Principal) -> SessionRecord:
        """Look a second time; as long for the sessions of others as for those that do not exist.

        Raises:
            NotFound: there is none of the principal's.
        """
        record: SessionRecord | None = None
        if self._sessions.store is not None:
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            record = await self._find(session_id, principal)
        if record is None:
            raise _not_found()
        return record

    def _check_policy(self, record: SessionRecord, principal: Principal, metadata: Metadata) -> None:
        method = self._sessions.methods.get(record.method)
        if method is None:  # of another version of the service
            raise errors.Unavailable("this replica does not know the session's method", reason="SESSION_METHOD_UNKNOWN")
        if not self._policy.decide(principal, method, metadata).allowed:
            raise errors.PermissionDenied("the stream is not allowed any more", reason="PERMISSION_MISSING")

    async def _extend(self, session_id: str, extension: Extension) -> float | None:
        store = self._sessions.store
        if store is None:
            return None
        try:
            return await store.extend(session_id, extension)
        except ConnectionError as error:
            raise _unavailable() from error


def _not_found() -> errors.NotFound:
    return errors.NotFound("you have no such session", reason="SESSION_NOT_FOUND")


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable("sessions of other replicas cannot be told just now", reason="SESSION_STORE_UNAVAILABLE")
