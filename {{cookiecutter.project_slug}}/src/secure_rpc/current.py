"""The call that a task serves, for those who are not handed it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secure_rpc.call import Call

_current: ContextVar[Call] = ContextVar("secure_rpc.call")


def current_call() -> Call:
    """Return the call that the running handler or stage serves.

    Raises:
        LookupError: no call is being served here.
    """
    return _current.get()


def enter(call: Call) -> None:
    """Make a call the current one of this task; each RPC runs in one of its own."""
    _current.set(call)
