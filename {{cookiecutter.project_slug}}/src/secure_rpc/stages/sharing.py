"""What the replicas of a service share, where it has a store; redis-py is imported then, for it takes 8 MB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secure_rpc.settings import Settings
from secure_rpc.state.sessions import SessionStore

if TYPE_CHECKING:
    from secure_rpc.state.redis import Store


def store_of(settings: Settings, on_failure: Callable[[], None]) -> Store | None:
    """Return the store that the settings name, None where there is none.

    Args:
        settings: of the service.
        on_failure: is told of each attempt that failed.
    """
    if settings.state is None:
        return None
    from secure_rpc.state.redis import Store  # noqa: PLC0415  # see above

    return Store(settings.state, settings.service.name, on_failure=on_failure)


def sessions_of(store: Store | None) -> SessionStore | None:
    """Return where the sessions of streams are known to all replicas, None where there is no store."""
    if store is None:
        return None
    from secure_rpc.state.redis_sessions import RedisSessions  # noqa: PLC0415  # see above

    return RedisSessions(store)
