"""Where quotas are counted: by the replicas together, or by each process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secure_rpc.quota import QuotaScope, StoreFailure
from secure_rpc.settings import Settings
from secure_rpc.state.memory import MemoryQuotas
from secure_rpc.state.quotas import QuotaStore

if TYPE_CHECKING:
    from secure_rpc.state.redis import Store


def quotas_of(settings: Settings, store: Store | None, on_decision_without_store: Callable[[bool], None]) -> QuotaStore:
    """Return what counts.

    Args:
        settings: of the service.
        store: what replicas share; None where there is none.
        on_decision_without_store: is told of each decision made while the store is away: whether the call was allowed.
    """
    memory = MemoryQuotas(settings.remembered_callers)
    if store is None or settings.state is None or settings.quota_scope is QuotaScope.WORKER:
        return memory
    from secure_rpc.state.redis_quotas import RedisQuotas  # noqa: PLC0415  # redis-py takes 8 MB

    return RedisQuotas(
        store,
        settings.state.timeout_seconds,
        memory if settings.quota_store_failure is StoreFailure.OPEN else None,
        settings.remembered_callers,
        on_decision_without_store=on_decision_without_store,
    )
