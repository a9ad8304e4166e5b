"""Notes when a stage began and when it let a call go on, of calls that are traced; other calls pass at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from secure_rpc import errors
from secure_rpc.call import Call, Check, Method
from secure_rpc.chain import Middleware, Proceed, Stage
from secure_rpc.observing import Noting, Observer
from secure_rpc.trace_context import Step

MAX_STEPS = 32  # of one call: a stream's messages are checked one by one


class Steps:
    """A stage whose part in a call is a span of its own.

    Args:
        name: of the span.
        stage: the stage.
        of_messages: whether it does nothing but to look at messages.
    """

    def __init__(self, name: str, stage: Stage, *, of_messages: bool = False) -> None:
        self._name = name
        self._stage = stage
        self._of_messages = of_messages

    def bind(self, method: Method) -> Middleware | Observer | None:
        """Surround what the stage surrounds."""
        inner, name, of_messages = self._stage.bind(method), self._name, self._of_messages
        if inner is None or isinstance(inner, Observer):
            return inner

        async def timed(call: Call, proceed: Proceed) -> None:
            trace = call.trace
            steps = [] if trace is None or trace.steps is None else trace.steps
            step, before = Step(name, perf_counter()), len(call.request_checks)
            if not of_messages:
                steps.append(step)

            def go_on(call: Call) -> Awaitable[None]:
                step.ended = perf_counter()
                checks = call.request_checks
                if len(checks) > before:
                    call.request_checks = (*checks[:before], *(_timed(check, name, steps) for check in checks[before:]))
                return proceed(call)

            try:
                await inner(call, go_on)
            except BaseException as error:
                if not step.ended:
                    step.ended, step.failure = perf_counter(), _name_of(error)
                raise

        return Noting(inner, timed)


def _timed(check: Check, name: str, steps: list[Step]) -> Callable[[Any], None]:
    def timed(message: Any) -> None:
        if len(steps) >= MAX_STEPS:
            check(message)
            return
        step = Step(name, perf_counter())
        steps.append(step)
        try:
            check(message)
        except BaseException as error:
            step.failure = _name_of(error)
            raise
        finally:
            step.ended = perf_counter()

    return timed


def _name_of(error: BaseException) -> str:
    if isinstance(error, errors.StatusError):
        return error.recorded_reason or error.code.name
    return type(error).__name__
