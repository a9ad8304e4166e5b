"""Streams end with the credential that they began with, or go on with another that their owner shows in time."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence

from secure_rpc import errors
from secure_rpc.agenda import Agenda
from secure_rpc.call import Call, Method, Peer
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.configuration import ConfigurationError
from secure_rpc.live import LiveStreams
from secure_rpc.stages.session import Session
from secure_rpc.stages.session_sharing import SessionSharing
from secure_rpc.stages.stream_limits import StreamLimits
from secure_rpc.state.sessions import Extension, Owner, SessionSettings, SessionStore

ID_BYTES = 16  # of chance
ASK_AGAIN_SECONDS = 1.0  # where the store is away and the setting lets streams go on

logger = logging.getLogger(__name__)


class Sessions:
    """Hold each stream to its end.

    Args:
        settings: how long streams may go on.
        live: knows the streams, and judges them.
        certificate_ends: gives the Unix time at which the certificate of a peer ends; for public methods.
        limits: what one stream may bring.
        store: what the replicas share; none where there is only this one.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        settings: SessionSettings,
        live: LiveStreams,
        certificate_ends: Callable[[Peer], float],
        *,
        limits: StreamLimits | None = None,
        store: SessionStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.methods: dict[str, Method] = {}  # those that last, by path
        self.store = store if settings.refresh else None
        self._streams = live
        self._certificate_ends = certificate_ends
        self._limits = limits or StreamLimits()
        self._clock = clock
        self._live: dict[str, Session] = {}  # by id; those that can be extended
        self._sharing = SessionSharing(self.store, lambda: self._live) if self.store is not None else None
        self.announcements = Agenda[Session](self._announce, clock)
        self.ends = Agenda[Session](self._due, clock)
        self._asking: set[asyncio.Task[None]] = set()

    def bind(self, method: Method) -> Middleware | None:
        """Hold the methods that stream in one of the directions."""
        if not method.path or not (method.request_streaming or method.response_streaming):
            return None
        self.methods[method.path] = method
        limited = method.request_streaming and self._limits.any

        async def hold(call: Call, proceed: Proceed) -> None:
            if limited:
                call.check_requests(self._limits.check())
            session = self._begin(call)
            try:
                await proceed(call)
                await session.before_receive()  # a reply waits too
            finally:
                self._end(session)
                await session.close()

        return hold

    def check(self, workers: int) -> None:
        """Refuse what could not be kept.

        Args:
            workers: processes that take calls.

        Raises:
            ConfigurationError: a session could be extended by one process of several alone.
        """
        extensible = [path for path, method in self.methods.items() if not method.contract.public]
        if workers > 1 and extensible and self.settings.refresh and self.store is None:
            raise ConfigurationError(
                f'"workers" is {workers}, and streams such as {extensible[0]} can be extended, but each worker knows '
                "its own alone: most calls that extend one would not find it; name the store that they share under "
                '"state", or set "workers: 1", or "sessions: {refresh: false}": streams then end with their credential'
            )

    def __len__(self) -> int:
        """Return how many streams will be ended by what their callers have shown."""
        return len(self.ends)

    def find(self, session_id: str) -> Session | None:
        """Return a session of this process."""
        return self._live.get(session_id)

    def take_up(self, session: Session, extension: Extension) -> float:
        """Let a session go on with another credential, if that lasts longer; return its end.

        Whether the stream may go on is judged again, with the principal of now.
        """
        if extension.expires_at_seconds > session.expires_at_seconds:
            self._extend(session, extension)
            if self._sharing is not None:
                self._sharing.tell(session)
        return session.expires_at_seconds

    async def close(self) -> None:
        """Stop telling others."""
        if self._sharing is not None:
            await self._sharing.close()

    def _begin(self, call: Call) -> Session:
        principal, settings = call.principal, self.settings
        now = self._clock()
        latest = now + settings.max_seconds if settings.max_seconds else float("inf")
        ends = self._certificate_ends(call.peer) if principal is None else principal.expires_at_seconds
        session_id = secrets.token_urlsafe(ID_BYTES) if settings.refresh and principal is not None else ""
        session = Session(call, session_id, min(ends, latest), latest, self._announced)
        if session_id:
            self._live[session_id] = session
        if session.expires_at_seconds != float("inf"):
            self.ends.put(session, session.expires_at_seconds)
        self.announcements.put(session, now + settings.announce_after_seconds)
        return session

    def _end(self, session: Session) -> None:
        self.ends.drop(session)
        self.announcements.drop(session)
        if session.id:
            self._live.pop(session.id, None)
            if self._sharing is not None:
                self._sharing.forget(session)
        session.resume()  # whoever waits to extend it
        session.call.gate = session.call.session = None

    def _announce(self, silent: Sequence[Session]) -> None:
        for session in silent:
            session.announce()

    def _announced(self, session: Session) -> None:
        self.announcements.drop(session)
        if session.id and self._sharing is not None:
            self._sharing.tell(session)

    def _due(self, due: Sequence[Session]) -> None:
        asked: list[Session] = []
        for session in due:
            if session.id and self.store is not None:
                session.pause()
                asked.append(session)
            else:
                self._expire(session)
        if asked and self.store is not None:
            task = asyncio.create_task(self._ask(asked, self.store))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, due: Sequence[Session], store: SessionStore) -> None:
        """Find out whether sessions were extended elsewhere; until then, no message of theirs leaves."""
        found: Sequence[Extension | None] = [None] * len(due)
        goes_on = False
        try:
            found = await store.extensions([session.id for session in due])
        except ConnectionError:
            goes_on = not self.settings.end_when_store_away
        except Exception:
            logger.exception("it cannot be told whether sessions were extended")
        for session, extension in zip(due, found, strict=True):
            if session.id not in self._live:
                continue
            if session.expires_at_seconds > self._clock():  # extended here meanwhile
                session.resume()
            elif goes_on and session.latest_seconds > self._clock():
                session.expires_at_seconds = min(self._clock() + ASK_AGAIN_SECONDS, session.latest_seconds)
                self.ends.put(session, session.expires_at_seconds)
                session.resume()
            elif (
                extension is not None
                and extension.expires_at_seconds > session.expires_at_seconds
                and Owner.of(extension.principal) == session.owner
            ):
                self._extend(session, extension)
            else:
                self._expire(session)

    def _extend(self, session: Session, extension: Extension) -> None:
        call = session.call
        call.principal, session.renewed_by = extension.principal, extension.peer
        session.expires_at_seconds = min(extension.expires_at_seconds, session.latest_seconds)
        self.ends.put(session, session.expires_at_seconds)
        self._streams.judge(call)
        session.resume()

    def _expire(self, session: Session) -> None:
        is_too_long = session.expires_at_seconds >= session.latest_seconds
        error = errors.Unauthenticated(
            "the stream has ended with the credential that was shown; show a new one",
            reason="TOKEN_EXPIRED",
            recorded_reason="SESSION_TOO_LONG" if is_too_long else "",
        )
        self._streams.cut(session.call, error)
        session.resume()
