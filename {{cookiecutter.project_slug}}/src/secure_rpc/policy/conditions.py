"""Conditions of bindings: CEL expressions over principal, request, method, metadata and now.

Types are checked when the policy is loaded, against the request of each method that the binding reaches. What is not
plainly true denies: an error, a value that is no boolean, a budget that is used up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from secure_rpc.call import Metadata, Method, Principal

if TYPE_CHECKING:
    from secure_rpc.policy.expressions import Compiler, Program

MAX_EXPRESSION_CHARACTERS = 2000


class Asked(NamedTuple):
    """What a condition can look at."""

    principal: Principal
    method: Method
    metadata: Metadata
    request: Any  # None: not read yet
    now_seconds: float  # Unix time


class Verdict(NamedTuple):
    """What came of a condition."""

    holds: bool
    failure: str = ""  # why it could not be told


class Conditions:
    """Compile and evaluate the conditions of policies for the methods of one service.

    Args:
        methods: those that a call can be for.
        on_failure: told of each condition that could not be evaluated, with the reason.
    """

    def __init__(self, methods: Iterable[Method] = (), on_failure: Callable[[str, str], None] | None = None) -> None:
        self.methods = tuple(methods)
        self._on_failure = on_failure
        self._compiler: Compiler | None = None
        self._programs: dict[tuple[str, str], Program] = {}  # by expression and type of request

    def reached(self, permissions: frozenset[str]) -> list[Method]:
        """Return the methods that ask for one of the permissions."""
        return [
            method
            for method in self.methods
            if not permissions.isdisjoint(method.contract.permissions + method.contract.any_permissions)
        ]

    def check(self, expression: str, permissions: frozenset[str]) -> list[str]:
        """Compile an expression for each method that it may decide on, and return what is wrong with it."""
        if len(expression) > MAX_EXPRESSION_CHARACTERS:
            return [f"a condition has at most {MAX_EXPRESSION_CHARACTERS} characters"]
        problems: dict[str, None] = {}  # each once, in order
        for method in self.reached(permissions):
            try:
                self._program(expression, method)
            except ValueError as error:
                problems[f"{error}, for {method.path}"] = None
        if not self.reached(permissions):
            try:
                self._compile(expression, "")
            except ValueError as error:
                problems[str(error)] = None
        return list(problems)

    def uses_request(self, expression: str, method: Method) -> bool:
        """Tell whether the expression can be evaluated only once a message is there."""
        return self._program(expression, method).uses_request

    def holds(self, expression: str, asked: Asked) -> Verdict:
        """Return whether the expression is plainly true; where it fails, that is told to `on_failure`."""
        try:
            verdict = self._program(expression, asked.method).verdict(asked)
        except ValueError as error:
            verdict = Verdict(holds=False, failure=str(error))
        if verdict.failure and self._on_failure is not None:
            self._on_failure(expression, verdict.failure)
        return verdict

    def _program(self, expression: str, method: Method) -> Program:
        request = method.descriptor.input_type.full_name if method.descriptor is not None else ""
        program = self._programs.get((expression, request))
        if program is None:
            program = self._compile(expression, request)
            self._programs[expression, request] = program
        return program

    def forget_but(self, expressions: Collection[str]) -> None:
        """Let go of what was compiled for expressions that no policy has any more."""
        self._programs = {key: program for key, program in self._programs.items() if key[0] in expressions}

    def _compile(self, expression: str, request: str) -> Program:
        if self._compiler is None:
            from secure_rpc.policy.expressions import Compiler  # noqa: PLC0415  # 4 MB that most policies do not need

            self._compiler = Compiler()
        return self._compiler.compile(expression, request)
