"""Every message is held against the rules of its proto (protovalidate) before the handler sees it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import protovalidate
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.configuration import ConfigurationError
from secure_rpc.stages.plain_rules import rules_of, seen_to_keep

MAX_VIOLATIONS = 20  # told to the caller; there can be one for each element of a list


class Validation:
    """Refuse messages that break the rules of their proto."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def bind(self, method: Method) -> Middleware | None:
        """Guard the methods whose requests have rules; a rule that cannot be compiled keeps the service from starting.

        Raises:
            ConfigurationError: a rule is wrong.
        """
        if method.descriptor is None:
            return None
        reachable = _reachable(method.descriptor.input_type, {})
        self._compile(method.path, reachable)
        if not any(map(_has_rules, reachable.values())):
            return None
        collect, seen = self._validator.collect_violations, seen_to_keep(method.descriptor.input_type) or _nothing_seen

        def check(message: Any) -> None:
            if seen(message):
                return
            violations = collect(message)
            if violations:
                raise _invalid(violations)

        def validate(call: Call, proceed: Proceed) -> Awaitable[None]:
            call.check_requests(check)
            return proceed(call)

        return validate

    def _compile(self, path: str, descriptors: dict[str, Descriptor]) -> None:
        """Compile the rules of every message that a request can hold; protovalidate would do so at first use."""
        for descriptor in descriptors.values():
            message = message_factory.GetMessageClass(descriptor)()
            try:
                self._validator.collect_violations(message)
            except Exception as error:
                raise ConfigurationError(f"{path}: the rules of {descriptor.full_name} are wrong: {error}") from error


def _reachable(descriptor: Descriptor, found: dict[str, Descriptor]) -> dict[str, Descriptor]:
    if descriptor.full_name not in found:
        found[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                _reachable(field.message_type, found)
    return found


def _nothing_seen(_message: Any) -> bool:
    return False


def _has_rules(descriptor: Descriptor) -> bool:
    return any(map(rules_of, (descriptor, *descriptor.fields, *descriptor.oneofs)))


def _invalid(violations: list[protovalidate.Violation]) -> errors.InvalidArgument:
    told: dict[str, str] = {}
    for violation in violations[:MAX_VIOLATIONS]:
        told[_field_path(violation)] = violation.proto.message
    return errors.InvalidArgument(
        f"{len(violations)} rule(s) broken, first: {next(iter(told))}: {next(iter(told.values()))}",
        reason="REQUEST_INVALID",
        details=[errors.bad_request(told)],
    )


def _field_path(violation: protovalidate.Violation) -> str:
    """Return the path of the field in the form of `google.rpc.BadRequest`: "order.lines[2].amount"."""
    path = violation.proto.field
    parts = []
    for element in path.elements if path else ():
        subscript = element.subscript
        parts.append(element.field_name + (f"[{subscript.value}]" if subscript is not None else ""))
    return ".".join(parts) or "(message)"
