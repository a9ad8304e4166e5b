"""One condition: a CEL expression, compiled for one type of request, and what it looks at in CEL's form.

Imported once there is a condition: CEL takes 4 MB, and most policies have none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pool

from secure_rpc.call import Metadata, Principal
from secure_rpc.configuration import did_you_mean
from secure_rpc.policy.conditions import Asked, Verdict
from secure_rpc.v1 import condition_pb2

# Credentials are verified elsewhere; a condition that looked at them could print or compare them
HIDDEN_METADATA = frozenset({"authorization", "cookie", "x-api-key"})
REMEMBERED_PRINCIPALS = 1000  # in CEL's form
VARIABLES = ("principal", "method", "now", "metadata", "request")
_LATER = ("request", "metadata")  # made only for expressions that use them
_UNKNOWN_FIELD = re.compile(r"undefined field '(\w+)' not found in struct '([\w.]+)'")
_UNKNOWN_NAME = re.compile(r"undeclared reference to '(\w+)")


@dataclass(frozen=True, slots=True)
class Program:
    """One expression, compiled for one type of request."""

    expression: cel.Expression
    uses_request: bool
    uses_metadata: bool

    def verdict(self, asked: Asked) -> Verdict:
        """Return whether the expression is plainly true."""
        try:
            data: dict[str, Any] = {
                "principal": _principal(_ByIdentity(asked.principal)),
                "method": _method(asked.method.path, asked.method.kind),
                "now": datetime.fromtimestamp(asked.now_seconds, UTC),
            }
            if self.uses_request:
                data["request"] = asked.request
            if self.uses_metadata:
                data["metadata"] = metadata_map(asked.metadata)
            value = self.expression.eval(data=data)
            if value.type() == cel.Type.BOOL:  # an error is a value too, and a true one to Python
                return Verdict(value.value() is True)
            return Verdict(holds=False, failure=str(value.value()))
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody is let in by it
            return Verdict(holds=False, failure=str(error).splitlines()[0] if str(error) else type(error).__name__)


class Compiler:
    """Compile expressions, each for the types of request that it may look at."""

    def __init__(self) -> None:
        self._environments: dict[str, cel.Env] = {}

    def compile(self, expression: str, request: str) -> Program:
        """Return the compiled expression.

        Args:
            expression: in CEL.
            request: the full name of the request's type; "" where there is none to look at.

        Raises:
            ValueError: it is no valid expression, or not one that is true or false.
        """
        try:
            compiled = self._environment(request, "").compile(expression)
        except RuntimeError as error:
            raise ValueError(_first_complaint(str(error))) from None
        if compiled.return_type() != cel.Type.BOOL:
            kind = compiled.return_type().name().lower()
            raise ValueError(
                f'the condition is of type {kind}; it must be true or false: compare it, as in "... == true"'
            )
        uses_request, uses_metadata = (not self._compiles_without(name, expression, request) for name in _LATER)
        return Program(compiled, uses_request, uses_metadata)

    def _compiles_without(self, variable: str, expression: str, request: str) -> bool:
        try:
            self._environment(request, variable).compile(expression)
        except RuntimeError:
            return False
        return True

    def _environment(self, request: str, without: str) -> cel.Env:
        key = f"{request} {without}"
        if key not in self._environments:
            variables = {
                "principal": cel.Type(condition_pb2.ConditionPrincipal.DESCRIPTOR.full_name),
                "method": cel.Type(condition_pb2.ConditionMethod.DESCRIPTOR.full_name),
                "now": cel.Type.TIMESTAMP,
                "metadata": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
            }
            if request:
                variables["request"] = cel.Type(request)
            variables.pop(without, None)
            self._environments[key] = cel.NewEnv(descriptor_pool.Default(), variables=variables)
        return self._environments[key]


def metadata_map(metadata: Metadata) -> Mapping[str, str]:
    """Return metadata as conditions see it: text only, no credentials; several values of a name joined by commas."""
    found: dict[str, str] = {}
    for key, value in metadata:
        if isinstance(value, str) and key not in HIDDEN_METADATA:
            found[key] = f"{found[key]},{value}" if key in found else value
    return found


def _first_complaint(text: str) -> str:
    """Return CEL's first complaint in a line: what, where in the expression, and what may have been meant."""
    _, found, rest = text.partition("ERROR: <input>:")
    if not found:
        return text.splitlines()[0] if text else "no reason given"
    place, _, message = rest.splitlines()[0].partition(": ")
    remedy = ""
    if field := _UNKNOWN_FIELD.search(message):
        fields = descriptor_pool.Default().FindMessageTypeByName(field[2]).fields_by_name
        remedy = f"; {did_you_mean(field[1], fields)}"
    elif name := _UNKNOWN_NAME.search(message):
        remedy = f"; {did_you_mean(name[1], VARIABLES)}"
    return f"{message} at character {place.partition(':')[2]}{remedy}"


@functools.lru_cache(REMEMBERED_PRINCIPALS)
def _principal(key: _ByIdentity) -> condition_pb2.ConditionPrincipal:
    principal = key.principal
    made = condition_pb2.ConditionPrincipal(
        workload=principal.workload,
        issuer=principal.issuer,
        subject=principal.subject,
        tenants=sorted(principal.tenants),
        groups=sorted(principal.groups),
        roles=sorted(principal.roles),
        proofs=principal.proofs,
    )
    made.claims.update(principal.claims)
    if principal.expires_at_seconds != float("inf"):
        made.expires_at.FromMilliseconds(int(principal.expires_at_seconds * 1000))
    return made


class _ByIdentity:
    """A principal as a key that tells objects apart: two tokens of one user may differ in their claims."""

    __slots__ = ("principal",)

    def __init__(self, principal: Principal) -> None:
        self.principal = principal  # kept: its id is not used again while it is here

    def __hash__(self) -> int:
        return id(self.principal)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.principal is self.principal


@functools.lru_cache(4096)  # more than a service has methods
def _method(path: str, kind: str) -> condition_pb2.ConditionMethod:
    service, _, name = path[1:].rpartition("/")
    return condition_pb2.ConditionMethod(path=path, service=service, name=name, kind=kind)
