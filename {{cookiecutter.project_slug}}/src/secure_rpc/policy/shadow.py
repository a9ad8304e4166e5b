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
    max_refusal_rise: float = Field(default=0.02, gt=0, le=1)  # share of its calls that it may refuse anew
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
    """How many calls the candidate decided lately, and how many of them it alone refused."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._half = seconds / 2
        self._clock = clock
        self._turned = clock()
        self._now = self._before = (0, 0)

    def note(self, calls: int, refused: int) -> tuple[int, int]:
        elapsed = self._clock() - self._turned
        if elapsed >= self._half:
            self._before = self._now if elapsed < 2 * self._half else (0, 0)
            self._now, self._turned = (0, 0), self._clock()
        self._now = self._now[0] + calls, self._now[1] + refused
        return self._now[0] + self._before[0], self._now[1] + self._before[1]


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
            self._note(1, refused=active.allowed and not candidate.allowed)
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
                self._note(0, refused=not mine)

        return ComparedDecision(
            allowed=True,
            rule=chosen.rule,
            tenants=chosen.tenants,
            per_message=per_message,
            policy=chosen.policy,
            other=other,
            compare=compare,
        )

    def _governs(self, principal: Principal) -> bool:
        return bool(self.percent) and share_of(principal) < self.percent

    def _note(self, calls: int, *, refused: bool) -> None:
        decided, refusals = self._window.note(calls, int(refused))
        if decided < self.rollout.minimum_calls or refusals <= self.rollout.max_refusal_rise * decided:
            return
        if self.percent:
            self.percent = 0.0
            self._on_rollback(
                f"of {decided} calls that the candidate decided, it refused {refusals} that the active policy allows; "
                f"{self.rollout.max_refusal_rise:.2%} may be"
            )


def share_of(principal: Principal) -> float:
    """Return where a principal stands from 0 to 100: the same for ever, whatever process asks."""
    return _share(principal.issuer, principal.subject or principal.workload)


@functools.lru_cache(10_000)
def _share(issuer: str, name: str) -> float:
    digest = hashlib.sha256(f"{issuer}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % _BUCKETS * 100 / _BUCKETS
