"""A candidate policy beside the active one: differences are counted, a share of callers may be judged by it already.

Both decide on each call, so that it is known what the candidate would have changed, and for whom.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from pydantic import Field

from secure_rpc.call import Metadata, Method, Principal
from secure_rpc.configuration import Section
from secure_rpc.policy.engine import Decision, Engine

_NOTHING = Decision(allowed=False, rule="")
_BUCKETS = 10_000  # a share of callers is set to a hundredth of a percent


class Direction(Enum):
    """What the candidate would do that the active policy does not."""

    WOULD_ALLOW = "would_allow"
    WOULD_DENY = "would_deny"


class Rollout(Section):
    """rollout.yaml: which policy is the candidate, and how far it may go."""

    candidate: str = Field(min_length=1)  # a file beside this one
    percent: float = Field(default=0.0, ge=0, le=100)  # of callers that it decides for; 0: it only watches
    max_refusal_rise: float = Field(default=0.02, gt=0, le=1)  # share of its callers whom it may refuse anew
    minimum_calls: int = Field(default=100, gt=0)  # that it decides before the share counts
    window_seconds: float = Field(default=300.0, gt=0)  # in which calls count


class Difference(NamedTuple):
    """A call on which the two policies do not agree."""

    method: str
    direction: Direction
    principal: Principal
    tenant: str  # "" where it is not about one
    active_rule: str
    candidate_rule: str


@dataclass(frozen=True, slots=True)
class ComparedDecision(Decision):
    """A decision that compares what it says of tenants with what the other policy says."""

    other: Decision = _NOTHING
    compare: Callable[[str, bool, bool], None] = lambda _tenant, _mine, _others: None

    def covers(self, tenant: str) -> bool:
        """Tell whether the data of that tenant may be touched."""
        mine = self.tenants is None or tenant in self.tenants
        others = self.other.allowed and self.other.covers(tenant)
        if mine is not others:
            self.compare(tenant, mine, others)
        return mine


class _Window:
    """How many calls the candidate decided lately, for how many callers, and how many of these it alone refused."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._half = seconds / 2
        self._clock = clock
        self._turned = clock()
        self._now = self._before = _Half(0, set(), set())

    def note(self, calls: int, share: float, *, refused: bool) -> int:
        elapsed = self._clock() - self._turned
        if elapsed >= self._half:
            self._before = self._now if elapsed < 2 * self._half else _Half(0, set(), set())
            self._now, self._turned = _Half(0, set(), set()), self._clock()
        self._now.callers.add(share)
        if refused:
            self._now.refused.add(share)
        self._now = self._now._replace(calls=self._now.calls + calls)
        return self._now.calls + self._before.calls

    def rise(self, most: float) -> tuple[int, int] | None:
        """Return of how many callers how many were refused, where that is more than a share of them."""
        now, before = self._now, self._before
        if len(now.refused) + len(before.refused) <= most * max(len(now.callers), len(before.callers)):
            return None  # told without looking at each, as nearly always
        callers, refused = len(now.callers | before.callers), len(now.refused | before.refused)
        return (callers, refused) if refused > most * callers else None


class _Half(NamedTuple):
    """Half of a window; callers by their place in the shares, of which there are only so many."""

    calls: int
    callers: set[float]
    refused: set[float]


class Shadow:
    """Decide by the active policy, or for a share of callers by the candidate, and compare the two.

    Args:
        active: decides for most.
        candidate: is tried.
        rollout: how far.
        on_difference: told of each.
        on_rollback: told why the candidate decides for nobody any more.
        clock: gives seconds that only go forward.
    """

    def __init__(
        self,
        active: Engine,
        candidate: Engine,
        rollout: Rollout,
        *,
        on_difference: Callable[[Difference], None],
        on_rollback: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.active = active
        self.candidate = candidate
        self.rollout = rollout
        self.percent = rollout.percent  # 0 once it was rolled back
        self._on_difference = on_difference
        self._on_rollback = on_rollback
        self._window = _Window(rollout.window_seconds, clock)

    def carry_on(self, before: Shadow) -> None:
        """Go on counting where another left off; a candidate that was rolled back stays so until it is another."""
        self.percent, self._window = before.percent, before._window

    def decide(self, principal: Principal, method: Method, metadata: Metadata = (), request: Any = None) -> Decision:
        """Return the decision that counts for this principal; see `Engine.decide`."""
        active = self.active.decide(principal, method, metadata, request)
        candidate = self.candidate.decide(principal, method, metadata, request)
        if governs := self._governs(principal):
            self._note(1, principal, refused=active.allowed and not candidate.allowed)
            governs = self._governs(principal)  # the refusal that is one too many is not the caller's
        chosen, other = (candidate, active) if governs else (active, candidate)
        per_message = active.per_message or candidate.per_message
        if active.allowed is not candidate.allowed and not (
            chosen.allowed and per_message and request is None  # told when there is a message
        ):
            direction = Direction.WOULD_ALLOW if candidate.allowed else Direction.WOULD_DENY
            self._on_difference(Difference(method.path, direction, principal, "", active.rule, candidate.rule))
        if not chosen.allowed or (chosen.tenants == other.tenants and not per_message):
            return chosen

        def compare(tenant: str, mine: bool, others: bool) -> None:  # noqa: FBT001
            by_candidate = mine if governs else others
            if active.allowed and candidate.allowed:  # else the difference was told already
                direction = Direction.WOULD_ALLOW if by_candidate else Direction.WOULD_DENY
                self._on_difference(Difference(method.path, direction, principal, tenant, active.rule, candidate.rule))
            if governs:
                self._note(0, principal, refused=not mine)

        return ComparedDecision(
            allowed=True,
            rule=chosen.rule,
            tenants=chosen.tenants,
            per_message=per_message,
            policy=chosen.policy,
            quotas=chosen.quotas,
            other=other,
            compare=compare,
        )

    def _governs(self, principal: Principal) -> bool:
        return bool(self.percent) and share_of(principal) < self.percent

    def _note(self, calls: int, principal: Principal, *, refused: bool) -> None:
        """Count callers, not calls: whoever is to lose access could take the candidate back by calling on and on."""
        decided = self._window.note(calls, share_of(principal), refused=refused)
        rise = self._window.rise(self.rollout.max_refusal_rise) if decided >= self.rollout.minimum_calls else None
        if rise is None:
            return
        if self.percent:
            self.percent = 0.0
            self._on_rollback(
                f"of {rise[0]} callers that the candidate decided for, it refused {rise[1]} "
                f"what the active policy allows; {self.rollout.max_refusal_rise:.2%} may be"
            )


def share_of(principal: Principal) -> float:
    """Return where a principal stands from 0 to 100: the same for ever, whatever process asks."""
    return _share(principal.issuer, principal.subject or principal.workload)


@functools.lru_cache(10_000)
def _share(issuer: str, name: str) -> float:
    digest = hashlib.sha256(f"{issuer}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % _BUCKETS * 100 / _BUCKETS
