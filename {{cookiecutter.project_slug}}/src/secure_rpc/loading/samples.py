"""Requests to drive a service with: from a file, or made so that they pass the rules of their protos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import protovalidate
from buf.validate import validate_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from secure_rpc.configuration import ConfigurationError, did_you_mean, read_yaml
from secure_rpc.v1 import access_pb2

ATTEMPTS = 20  # at mending a message: each mends every field that is still wrong
UUID = "00000000-0000-4000-8000-000000000001"
FORMS = {
    "uuid": UUID,
    "tuuid": UUID.replace("-", ""),
    "email": "somebody@example.org",
    "hostname": "example.org",
    "address": "example.org",
    "ip": "192.0.2.1",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uri_ref": "/",
    "host_and_port": "example.org:443",
}


class Samples:
    """What each method is asked with.

    Args:
        given: requests as they would stand in JSON, by the name of the method or its path.
        tenant: whose data is touched where a method says which of its fields names the tenant, and the sample does not.
    """

    def __init__(self, given: Mapping[str, Any], tenant: str) -> None:
        self._given = given
        self._tenant = tenant
        self._validator = protovalidate.Validator()

    @classmethod
    def read(cls, file: Path | None, tenant: str, methods: Mapping[str, MethodDescriptor]) -> Samples:
        """Read a file of samples; without one, all are made.

        Raises:
            ConfigurationError: what is wrong with the file.
        """
        if file is None:
            return cls({}, tenant)
        data = read_yaml(file).data
        known = {*methods, *(method.name for method in methods.values())}
        for name in data:
            if name not in known:
                raise ConfigurationError(f'{file}: there is no method "{name}"; {did_you_mean(name, known)}')
        return cls(data, tenant)

    def request_for(self, method: MethodDescriptor, tenant: str | None = None) -> Message:
        """Return the request of a method.

        Args:
            method: which.
            tenant: another than the usual one.

        Raises:
            ConfigurationError: the sample is no such request, or none could be made.
        """
        given = self._given.get(path_of(method), self._given.get(method.name))
        message: Message = message_factory.GetMessageClass(method.input_type)()
        if given is not None:
            try:
                json_format.ParseDict(given, message)
            except json_format.ParseError as error:
                raise ConfigurationError(
                    f"the sample for {method.name} is no {method.input_type.name}: {error}"
                ) from None
        self._name_tenant(method, message, tenant)
        for _ in range(ATTEMPTS):
            violations = self._validator.collect_violations(message)
            if not violations:
                return message
            if given is not None or not _mend_all(message, violations):
                break
        where = ", ".join(sorted({f"{_path(each)}: {each.proto.message}" for each in violations}))
        remedy = "mend the sample" if given is not None else "give one by --samples"
        raise ConfigurationError(f"no request for {method.name} passes its rules ({where}); {remedy}")

    def _name_tenant(self, method: MethodDescriptor, message: Any, tenant: str | None) -> None:
        *outer, last = method.GetOptions().Extensions[access_pb2.access].tenant_field.split(".")
        for name in outer:
            message = getattr(message, name)
        if last and (tenant is not None or not getattr(message, last)):
            setattr(message, last, self._tenant if tenant is None else tenant)


def path_of(method: MethodDescriptor) -> str:
    """Return a method's path, as gRPC has it."""
    return f"/{method.containing_service.full_name}/{method.name}"


def _path(violation: protovalidate.Violation) -> str:
    return ".".join(element.field_name for element in _elements(violation)) or "(message)"


def _elements(violation: protovalidate.Violation) -> list[Any]:
    return list(violation.proto.field.elements) if violation.proto.field else []


def _mend_all(message: Message, violations: list[protovalidate.Violation]) -> bool:
    """Give fields values that their rules should take; tell whether there was one for each."""
    mended = True
    for path in {_path(violation) for violation in violations}:  # a field may break several rules
        *outer, last = path.split(".")
        holder: Any = message
        for name in outer:
            holder = getattr(holder, name)
        field = holder.DESCRIPTOR.fields_by_name.get(last) if isinstance(holder, Message) else None
        mended = field is not None and _mend(holder, field) and mended
    return mended


def _mend(message: Any, field: Any) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if field.is_repeated:
        return _lengthen(getattr(message, field.name), rules.repeated.min_items)
    if field.message_type is not None:
        getattr(message, field.name).SetInParent()
        return bool(rules.required)
    value = _value(field, rules)
    if value is None or value == getattr(message, field.name):
        return False
    setattr(message, field.name, value)
    return True


def _lengthen(items: Any, count: int) -> bool:
    if not count or not hasattr(items, "add"):  # of messages; what else there is would need a value
        return False
    while len(items) < count:
        items.add()
    return True


def _value(field: Any, rules: Any) -> Any:
    kind = rules.WhichOneof("type")
    if kind is None or kind == "bool":
        usual = {FieldDescriptor.CPPTYPE_STRING: b"1" if field.type == FieldDescriptor.TYPE_BYTES else "1"}
        return True if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else usual.get(field.cpp_type, 1)
    rule = getattr(rules, kind)
    if rule.HasField("const"):
        return rule.const
    if allowed := list(getattr(rule, "in")):
        return allowed[0]
    forms: dict[str, Callable[[], Any]] = {
        "string": lambda: _text(rule),
        "bytes": lambda: b"1" * (rule.len or rule.min_len or 1),
        "enum": lambda: field.enum_type.values[-1].number if field.enum_type else None,
    }
    return forms.get(kind, lambda: _number(rule))()


def _number(rule: Any) -> Any:
    if rule.HasField("gte"):
        return rule.gte
    return rule.gt + 1 if rule.HasField("gt") else 1


def _text(rule: Any) -> str | None:
    form = rule.WhichOneof("well_known")
    if form is not None:
        return FORMS.get(form)
    length = max(rule.len, rule.min_len, rule.min_bytes, 1)
    text: str = rule.prefix + rule.contains + rule.suffix
    return text.ljust(length, "1") if not rule.suffix else text.rjust(length, "1") if not rule.prefix else text
