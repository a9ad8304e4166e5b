"""Sessions of streams, as replicas tell each other of them: whose they are, until when, and by what they were extended.

Each process knows its own by itself; what is here is for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pydantic import Field

from secure_rpc.caller import Peer, Principal
from secure_rpc.configuration import Section


class SessionSettings(Section):
    """How long streams may go on."""

    max_seconds: float = Field(default=0.0, ge=0)  # from a stream's beginning, however often it is extended; 0: any
    refresh: bool = True  # whether streams can outlive the credential that they began with
    end_when_store_away: bool = True  # false lets a stream go on while it cannot be told whether it was extended
    announce_after_seconds: float = Field(default=0.1, gt=0)  # where the handler has sent nothing by then
    review_seconds: float = Field(default=60.0, ge=0)  # in which each stream is judged again; 0: on changes alone


class Owner(NamedTuple):
    """Whose a session is; who extends it has to be the same."""

    workload: str
    issuer: str
    subject: str

    @classmethod
    def of(cls, principal: Principal) -> Owner:
        """Return it as the principal that it is."""
        return cls(principal.workload, principal.issuer, principal.subject)


class SessionRecord(NamedTuple):
    """A session, as it is known to all."""

    owner: Owner
    method: str  # the path
    expires_at_seconds: float  # Unix time
    latest_seconds: float  # Unix time past which nothing extends it


class Extension(NamedTuple):
    """By what a session goes on."""

    principal: Principal
    peer: Peer  # of the call that showed the new credential: its certificate counts from now on
    expires_at_seconds: float


class SessionStore(Protocol):
    """Where replicas tell each other. Each of these raises `ConnectionError` where it cannot be had."""

    async def put(self, sessions: Sequence[tuple[str, SessionRecord]]) -> None:
        """Make sessions known, or that they go on; what was said of them by others stays.

        Args:
            sessions: ids and what there is to know.
        """

    async def remove(self, ids: Sequence[str]) -> None:
        """Forget sessions that have ended."""

    async def read(self, session_id: str) -> SessionRecord | None:
        """Return what is known of a session; None where there is none."""

    async def extend(self, session_id: str, extension: Extension) -> float | None:
        """Let a session go on, if that is longer than it may already.

        Returns:
            its end, which is never sooner than before; None where there is none.
        """

    async def extensions(self, ids: Sequence[str]) -> list[Extension | None]:
        """Return by what each of these sessions was extended last, None where by nothing."""
