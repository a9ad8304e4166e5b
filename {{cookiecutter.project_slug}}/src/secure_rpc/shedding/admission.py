"""Who is let in: calls at once in all and by peer, and by what each peer's fair share is once it gets crowded."""

from __future__ import annotations

from typing import NamedTuple

from secure_rpc.call import Call
from secure_rpc.shedding.asking import Asking
from secure_rpc.shedding.limit import AdaptiveLimit
from secure_rpc.shedding.settings import Load

WORKING_SECONDS = 1.0  # a call that lasts longer waits more than it works; the ceiling still counts it
TURNS_TO_FADE = 5
REASONS = ("LOAD_LIMIT", "LOAD_SHED", "PEER_LIMIT")
HEALTH_CALLS = 16  # of one peer at once, which are never refused for load


class Refusal(NamedTuple):
    """Why a call is not let in."""

    reason: str
    message: str
    is_over_share: bool  # its peer has more than its share already


class _Peer:
    __slots__ = ("calls", "health", "working")

    def __init__(self) -> None:
        self.calls = 0
        self.working = 0  # of the calls, those that began not long ago
        self.health = 0


class Admission:
    """Count calls, and say which are too many.

    The ceiling holds for all calls, the two limits that adapt for those that work. Calls that have lasted are not among
    these: idle streams, or calls that wait for a database, do not keep others out when the loop is busy.

    Args:
        settings: the numbers.
        limit: of all that works.
        fair_limit: of those who ask most often, while others ask, too; lowered much sooner.
    """

    def __init__(self, settings: Load, limit: AdaptiveLimit, fair_limit: AdaptiveLimit) -> None:
        self._settings = settings
        self._limit = limit
        self._fair_limit = fair_limit
        self._peers: dict[str, _Peer] = {}  # of those with calls under way, and no others
        self._asking = Asking()
        self._working: dict[Call, tuple[int, _Peer]] = {}  # since which turn; oldest first
        self._turn = 0
        self._turns_of_work = max(1, round(WORKING_SECONDS / settings.probe_interval_seconds))
        self._active = 0  # peers with calls that work
        self.calls = 0
        # most of the time there are fewer calls than make it worth a closer look
        self._share = settings.fair_share_above
        self._share_of_ceiling = settings.fair_share_above * settings.max_concurrent_calls
        self._most_of_peer = settings.max_concurrent_calls_per_peer

    @property
    def working(self) -> int:
        """Return how many calls work."""
        return len(self._working)

    def __len__(self) -> int:
        """Return how many peers are known."""
        return len(self._peers)

    def enter(self, call: Call, name: str) -> Refusal | None:
        """Count a call in, unless it is refused.

        Args:
            call: the call; `leave` takes the same.
            name: of its peer.
        """
        peer = self._peers.get(name) or _Peer()
        self._asking.note(name)
        if (
            len(self._working) >= self._share * min(self._limit.calls, self._fair_limit.calls)
            or self.calls >= self._share_of_ceiling
            or peer.calls >= self._most_of_peer
        ):
            refusal = self._refusal(name, peer)
            if refusal is not None:
                return refusal
        if not peer.calls:
            self._peers[name] = peer
        self.calls += 1
        peer.calls += 1
        if not peer.working:
            self._active += 1
        peer.working += 1
        self._working[call] = (self._turn, peer)
        return None

    def leave(self, call: Call, name: str) -> None:
        """Count a call out."""
        peer = self._peers[name]
        self.calls -= 1
        peer.calls -= 1
        if self._working.pop(call, None) is not None:
            self._works_no_more(peer)
        if not peer.calls:
            self._forget(name, peer)

    def enter_health(self, name: str) -> bool:
        """Count a health check in, beside all limits; return False where its peer has too many for that."""
        peer = self._peers.get(name)
        if peer is None:
            peer = self._peers[name] = _Peer()
        if peer.health >= HEALTH_CALLS:
            return False
        peer.health += 1
        return True

    def leave_health(self, name: str) -> None:
        """Count a health check out."""
        peer = self._peers[name]
        peer.health -= 1
        self._forget(name, peer)

    def pass_turn(self) -> None:
        """Let time pass: to be called every `probe_interval_seconds`."""
        self._turn += 1
        if self._turn % TURNS_TO_FADE == 0:
            self._asking.fade()
        working = self._working
        while working:
            call = next(iter(working))
            since, peer = working[call]
            if self._turn - since < self._turns_of_work:
                break
            del working[call]
            self._works_no_more(peer)

    def _refusal(self, name: str, peer: _Peer) -> Refusal | None:
        settings, ceiling, working = self._settings, self._settings.max_concurrent_calls, len(self._working)
        if peer.calls >= settings.max_concurrent_calls_per_peer:
            return Refusal("PEER_LIMIT", "your address is at its limit of calls", is_over_share=True)
        limit = self._limit.calls
        asks_most = True
        if len(self._asking) > 1:
            asks_most = self._asking.is_among_most(name)
            limit = min(limit, self._fair_limit.calls) if asks_most else limit
        near_limit = working >= settings.fair_share_above * limit
        near_ceiling = self.calls >= settings.fair_share_above * ceiling
        if not (near_limit or near_ceiling):
            return None
        share = limit // max(self._active + (not peer.working), 2)  # one that is alone leaves room for another
        share_of_ceiling = ceiling // max(len(self._peers) + (not peer.calls), 2)
        is_over_share = asks_most and (
            (near_limit and peer.working >= max(share, 1)) or (near_ceiling and peer.calls >= max(share_of_ceiling, 1))
        )
        if self.calls >= ceiling:
            return Refusal("LOAD_LIMIT", "the server is at its limit of calls", is_over_share)
        if is_over_share:
            return Refusal("LOAD_SHED", "the server is busy, and your address has its share of it", is_over_share)
        if working >= self._limit.calls <= self._active:  # more peers than may have a call each
            return Refusal("LOAD_SHED", "the server has more to do than it can", is_over_share)
        return None  # also past a limit that was lowered, or that peers are beyond who were alone before

    def _works_no_more(self, peer: _Peer) -> None:
        peer.working -= 1
        if not peer.working:
            self._active -= 1

    def _forget(self, name: str, peer: _Peer) -> None:
        if not peer.calls and not peer.health:
            del self._peers[name]
