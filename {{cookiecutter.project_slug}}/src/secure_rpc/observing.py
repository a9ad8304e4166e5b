"""Those who watch calls, from outside of all else: metrics, log, audit. Neighbours share one look at each call.

A watcher costs a call little by itself. What it does amid all that a busy server does is found in no cache of the
processor, so one clock, one frame and one record for all of them cost half of what one for each does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import NamedTuple, TypeAlias

from secure_rpc.call import Call, Method, Principal
from secure_rpc.outcome import ENDED_WELL, Outcome

__all__ = ["CallRecord", "NotedCall", "Observer"]

Proceed: TypeAlias = Callable[[Call], Awaitable[None]]
Middleware: TypeAlias = Callable[[Call, Proceed], Awaitable[None]]

# A `CallRecord` before it is one: a plain tuple, which costs half as much to make
NotedCall: TypeAlias = tuple[
    float, str, str, str, Principal | None, str, str, str, str, str, str, float, Sequence[tuple[str, str]], str, str
]


class CallRecord(NamedTuple):
    """A call that has ended; the fields are those of `NotedCall`, in this order."""

    time_seconds: float  # Unix time at which the call began
    call_id: str
    method: str  # its path, as the caller wrote it
    kind: str
    principal: Principal | None
    workload: str  # of the certificate, also where there is no principal
    tenant: str
    rule: str
    peer: str
    code: str
    reason: str
    duration_seconds: float
    fields: Sequence[tuple[str, str]] = ()  # of the request, as the contract's audit_fields ask
    policy: str = ""  # the version that the rule is of
    trace_id: str = ""  # of the W3C trace context, where anybody has heard of it


class Observer(NamedTuple):
    """What a stage is that surrounds nothing.

    Args:
        begin: sees a call begin, None where that is of no interest; to refuse it, raise.
        end: sees it ended, its own refusal included, after those that stand further in. What it raises is what the call
            ends with, for those further out as for the caller.
    """

    begin: Callable[[Call], None] | None
    end: Callable[[Call, NotedCall, Outcome], None]


class Noting:
    """A middleware that notes more of calls of which a trace is kept; the chain asks once a call, not in each stage.

    Args:
        plain: surrounds other calls.
        noting: surrounds those.
    """

    __slots__ = ("noting", "plain")

    def __init__(self, plain: Middleware, noting: Middleware) -> None:
        self.plain = plain
        self.noting = noting

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[None]:
        """Surround a call."""
        return (self.noting if _is_noted(call) else self.plain)(call, proceed)


def parted(plain: Proceed, noting: Proceed) -> Proceed:
    """Return what proceeds with a call in one way or the other, by whether a trace is kept of it."""
    return plain if plain is noting else lambda call: (noting if _is_noted(call) else plain)(call)


def _is_noted(call: Call) -> bool:
    trace = call.trace
    return trace is not None and trace.steps is not None


def observed(method: Method, observers: Sequence[Observer], clock: Callable[[], float] = time.time) -> Middleware:
    """Return the middleware that all observers are together.

    Args:
        method: that is watched.
        observers: who watch, outermost first.
        clock: gives Unix time in seconds.
    """
    kind = method.kind
    begins = [observer.begin for observer in observers if observer.begin is not None]
    ends = [observer.end for observer in reversed(observers)]

    async def observe(call: Call, proceed: Proceed) -> None:
        began, started = clock(), perf_counter()
        error: BaseException | None = None
        try:
            for begin in begins:
                begin(call)
            await proceed(call)
        except BaseException as caught:
            error = caught
            raise
        finally:
            outcome = ENDED_WELL if error is None else call.outcome(error)
            noted = _noted(call, kind, outcome, began, perf_counter() - started)
            failure: Exception | None = None
            for end in ends:
                try:
                    end(call, noted, outcome)
                except Exception as caught:  # noqa: BLE001  # whoever stands further out is to see it, and to end, too
                    failure, outcome = caught, call.outcome(caught)
                    noted = _noted(call, kind, outcome, began, perf_counter() - started)
            if failure is not None:
                raise failure

    return observe


def _noted(call: Call, kind: str, outcome: Outcome, began: float, duration_seconds: float) -> NotedCall:
    trace, trace_id = call.trace, ""
    if outcome is ENDED_WELL:
        code = "OK"
        if trace is not None:
            trace_id = trace.known_id
    else:
        code = outcome.code.name
        if trace is not None:
            trace_id = trace.trace_id
    return (
        began,
        call.id,
        call.path,
        kind,
        call.principal,
        call.workload,
        call.tenant,
        call.rule,
        call.address,
        code,
        outcome.reason,
        duration_seconds,
        call.noted_fields,
        call.policy,
        trace_id,
    )
