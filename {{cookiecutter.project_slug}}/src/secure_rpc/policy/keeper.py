"""The policy's files, kept fresh: read at start, read again when they change, the last good version kept.

A candidate stands beside the active policy while its rollout file is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from secure_rpc.call import Method
from secure_rpc.configuration import ConfigurationError, parse_yaml, read_text
from secure_rpc.live import LiveStreams
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import Known, parse
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.entries import entries_of
from secure_rpc.policy.loading import PolicyText, check_conditions, load_beside
from secure_rpc.policy.shadow import Rollout
from secure_rpc.watching import FileWatch

EXPIRY_LOOK_SECONDS = 30.0  # the longest until a binding's end is noticed where the clock was set

logger = logging.getLogger(__name__)


class PolicyFiles(NamedTuple):
    """Where the policy stands."""

    policy: Path
    rollout: Path | None = None  # names the candidate; no candidate where it is missing


class PolicyKeeper:
    """Give the policy that decides now, and keep it as its files are.

    Args:
        files: the policy's.
        active: is told of each version.
        conditions: compile those of bindings.
        live: streams, looked at again when another version decides.
        size: for how many principals grants are remembered.
        on_reload: told after each change of the files whether it was taken up.
    """

    def __init__(
        self,
        files: PolicyFiles,
        active: ActivePolicy,
        conditions: Conditions,
        live: LiveStreams,
        *,
        size: int,
        on_reload: Callable[[bool], None] = lambda _good: None,
    ) -> None:
        self._files = files
        self._active = active
        self._conditions = conditions
        self._live = live
        self._size = size
        self._on_reload = on_reload
        self._watch = FileWatch([files.policy, *_candidate_files(files.rollout)])
        self._text = PolicyText.of(files.policy)
        self._document = parse(*self._text)
        self._known = Known((), (), ())
        self.loaded_seconds = 0.0  # Unix time
        self._turn = asyncio.Lock()  # of reloads: one that read earlier must not be taken up later

    @property
    def version(self) -> str:
        """Return the version of the active policy."""
        return self._active.engine.version or self._document.version

    def begin(self, known: Known, methods: Collection[Method]) -> None:
        """Hold the policy against what there is, and let it decide.

        Raises:
            ConfigurationError: it speaks of what does not exist, or a condition of it is wrong.
        """
        self._known = known
        self._conditions.methods = tuple(methods)
        self._document.check(known)
        check_conditions(self._document, self._conditions)
        engine = Engine(self._document.version, self._conditions, size=self._size)
        engine.add(entries_of(self._document))
        self._active.swap(engine)
        self.loaded_seconds = time.time()

    async def keep_fresh(self) -> None:
        """Read the files again when they change, until cancelled."""
        if self._files.rollout is not None and self._files.rollout.exists():
            await self.reload()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run(self._on_change))
            tasks.create_task(self._follow_expiry())

    async def reload(self) -> None:
        """Read the files now, or after the reload that is under way; what is not sound is told, and changes nothing."""
        try:
            async with self._turn:
                await self._take_up()
        except ConfigurationError as error:
            self._on_reload(False)  # noqa: FBT003
            logger.error("the policy is left as it was (%s): %s", self.version, "; ".join(error.problems))  # noqa: TRY400
        except Exception:  # a fault of ours must not end the watch
            self._on_reload(False)  # noqa: FBT003
            logger.exception("the policy is left as it was (%s)", self.version)

    async def _on_change(self, _paths: frozenset[Path]) -> None:
        self._watch.look_at([self._files.policy, *_candidate_files(self._files.rollout)])  # it may be another one now
        await self.reload()

    async def _follow_expiry(self) -> None:
        """Have streams looked at again when a binding by which one may have begun has ended."""
        while True:
            ends = self._active.next_expiry_seconds
            await asyncio.sleep(max(0.0, min(ends - time.time(), EXPIRY_LOOK_SECONDS)))
            if time.time() >= ends:
                self._active.expire()
                await self._live.review()

    async def _take_up(self) -> None:
        text = PolicyText.of(self._files.policy)
        engine, changes = self._active.engine, list[str]()
        if text.text != self._text.text:
            engine, changes = await load_beside(text, self._known, self._conditions, self._text, self._size)
        try:
            candidate, rollout = await self._candidate()
        except ConfigurationError:
            self._swap(text, engine, None, None, changes)  # the policy itself is sound
            raise
        self._swap(text, engine, candidate, rollout, changes)
        ended = await self._live.review()
        if ended:
            logger.info("%d streams were ended that the policy does not allow any more", ended)

    def _swap(
        self,
        text: PolicyText,
        engine: Engine,
        candidate: Engine | None,
        rollout: Rollout | None,
        changes: Sequence[str],
    ) -> None:
        before, self._text = self.version, text
        self._active.swap(engine, candidate, rollout)
        self._conditions.forget_but(engine.expressions | (candidate.expressions if candidate is not None else set()))
        self.loaded_seconds = time.time()
        self._on_reload(True)  # noqa: FBT003
        if engine.version != before:
            logger.info(
                "policy %s decides now, %s before: %s", engine.version, before, "; ".join(changes) or "as before"
            )
        if candidate is not None and rollout is not None:
            logger.info("policy %s is the candidate, for %g %% of callers", candidate.version, rollout.percent)

    async def _candidate(self) -> tuple[Engine, Rollout] | tuple[None, None]:
        file = self._files.rollout
        if file is None or not file.exists():
            return None, None
        rollout = load_rollout(file)
        text = PolicyText.of(file.parent / rollout.candidate)
        engine, _ = await load_beside(text, self._known, self._conditions, size=self._size)
        return engine, rollout


def load_rollout(path: Path) -> Rollout:
    """Read a rollout file.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    return parse_yaml(path, read_text(path)).validated(Rollout)


def _candidate_files(rollout: Path | None) -> list[Path]:
    """Return the rollout file and the candidate that it names, as far as they are there."""
    if rollout is None:
        return []
    with suppress(ConfigurationError):
        return [rollout, rollout.parent / load_rollout(rollout).candidate]
    return [rollout]
