"""Where it is remembered which calls were made: by the replicas together, by the processes of a machine, or by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secure_rpc.sections import Replay as Settings
from secure_rpc.sections import SecondSight
from secure_rpc.stages.idempotency import Idempotency
from secure_rpc.stages.once import Once
from secure_rpc.stages.replay import Replay
from secure_rpc.state.local_file import IN_MEMORY, LocalFile
from secure_rpc.state.local_nonces import LocalNonces
from secure_rpc.state.local_outcomes import LocalOutcomes
from secure_rpc.state.memory import MemoryNonces
from secure_rpc.state.nonces import NonceStore
from secure_rpc.state.outcomes import OutcomeStore

if TYPE_CHECKING:
    from secure_rpc.state.redis import Store


class Memory:
    """What is remembered of calls.

    Args:
        settings: of replay protection.
        store: what replicas share; None where there is none.

    Raises:
        ConfigurationError: the file that the settings name cannot be used.
    """

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self.is_of_one_process = store is None and settings.file is None
        self._file: LocalFile | None = None
        self._window_seconds = settings.window_seconds
        self.nonces: NonceStore
        self.outcomes: OutcomeStore
        if store is not None:
            from secure_rpc.state.redis_nonces import RedisNonces  # noqa: PLC0415  # redis-py takes 8 MB
            from secure_rpc.state.redis_outcomes import RedisOutcomes  # noqa: PLC0415

            self.nonces, self.outcomes = RedisNonces(store), RedisOutcomes(store)
            return
        self._file = LocalFile(settings.file or IN_MEMORY)
        self.outcomes = LocalOutcomes(self._file, settings.remembered_outcomes)
        self.nonces = (
            MemoryNonces(settings.remembered_nonces)
            if settings.file is None
            else LocalNonces(self._file, settings.remembered_nonces)
        )

    @property
    def once(self) -> Once:
        """Return what takes nonces."""
        return Once(self.nonces, self._window_seconds)

    async def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            await self._file.close()


def replay_of(settings: Settings, memory: Memory, on_answer: Callable[[], None] = lambda: None) -> Replay:
    """Return the stage.

    Args:
        settings: of replay protection.
        memory: of the calls that were made.
        on_answer: is told of each call that was answered without being run.
    """
    idempotency = Idempotency(
        memory.outcomes,
        lease_seconds=settings.idempotency_lease_seconds,
        lifetime_seconds=settings.idempotency_lifetime_seconds,
        max_outcome_bytes=settings.max_outcome_bytes,
        answers=settings.idempotency is SecondSight.ANSWER,
        on_answer=on_answer,
    )
    return Replay(memory.once, idempotency)
