"""The policy that decides now: one object that is asked, and one assignment that changes the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from secure_rpc.policy.engine import Decision, Engine
from secure_rpc.policy.shadow import Difference, Rollout, Shadow

MAX_LOGGED_DIFFERENCES = 1000  # of one candidate; all are counted

logger = logging.getLogger(__name__)


class ActivePolicy:
    """Hold the engine that decides, and the candidate beside it where there is one.

    `decide` is taken once for each decision, so no decision mixes two versions.

    Args:
        engine: the active policy.
        on_difference: told of each call on which a candidate does not agree, by method and direction.
        on_rollback: told when a candidate decides for nobody any more.
    """

    def __init__(
        self,
        engine: Engine,
        on_difference: Callable[[str, str], None] = lambda _method, _direction: None,
        on_rollback: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.shadow: Shadow | None = None
        self.decide: Callable[..., Decision] = engine.decide
        self._on_difference = on_difference
        self._on_rollback = on_rollback
        self._logged: set[tuple[str, str, str, str]] = set()

    def swap(self, engine: Engine, candidate: Engine | None = None, rollout: Rollout | None = None) -> None:
        """Let other policies decide from the next decision on.

        Args:
            engine: the active policy.
            candidate: the one beside it.
            rollout: how far the candidate may go.
        """
        replaced = self._engines()
        self._take_up(engine, candidate, rollout)
        for each in replaced:
            if each not in self._engines():
                each.forget()  # else all of it goes at once, with the engine

    def _take_up(self, engine: Engine, candidate: Engine | None, rollout: Rollout | None) -> None:
        self.engine = engine
        before = self.shadow
        if candidate is None or rollout is None:
            self.shadow, self.decide = None, engine.decide
            return
        shadow = Shadow(engine, candidate, rollout, on_difference=self._differ, on_rollback=self._roll_back)
        if before is not None and (before.candidate.version, before.rollout) == (candidate.version, rollout):
            shadow.carry_on(before)
        else:
            self._logged.clear()
        self.shadow, self.decide = shadow, shadow.decide

    @property
    def next_expiry_seconds(self) -> float:
        """Return the Unix time at which the next binding ends."""
        return min(engine.next_expiry_seconds for engine in self._engines())

    def expire(self) -> None:
        """Forget what bindings gave that have ended by now."""
        for engine in self._engines():
            engine.expire()

    def _engines(self) -> list[Engine]:
        return [self.engine] if self.shadow is None else [self.engine, self.shadow.candidate]

    def _differ(self, difference: Difference) -> None:
        direction = difference.direction.value
        self._on_difference(difference.method, direction)
        principal = difference.principal
        key = (difference.method, direction, principal.name, difference.tenant)
        if key in self._logged or len(self._logged) >= MAX_LOGGED_DIFFERENCES:
            return
        self._logged.add(key)
        logger.warning(
            "the candidate policy %s %s to call %s%s: active %s, candidate %s",
            direction.replace("_", " "),
            principal,
            difference.method,
            f" for tenant {difference.tenant!r}" if difference.tenant else "",
            difference.active_rule,
            difference.candidate_rule,
        )

    def _roll_back(self, reason: str) -> None:
        self._on_rollback()
        logger.error("the candidate policy is rolled back and decides for nobody: %s", reason)
