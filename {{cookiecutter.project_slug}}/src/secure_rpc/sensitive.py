"""Which fields of messages are marked as sensitive, in the message itself and in those that it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from secure_rpc.configuration import ConfigurationError
from secure_rpc.v1 import access_pb2

Change: TypeAlias = Callable[[str, Any], Any]  # takes "package.Message.field" and a value, returns another value
MAX_TYPES = 4096
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


@dataclass(slots=True)
class _Parts:
    """What of a message type matters."""

    own: list[FieldDescriptor] = field(default_factory=list)  # that are sensitive
    inner: list[tuple[FieldDescriptor, _Parts]] = field(default_factory=list)  # that hold messages

    def leads_to_some(self, seen: set[int]) -> bool:
        if id(self) in seen:
            return False
        seen.add(id(self))
        return bool(self.own) or any(parts.leads_to_some(seen) for _, parts in self.inner)


def is_sensitive(described: FieldDescriptor) -> bool:
    """Tell whether a field is marked as sensitive."""
    return bool(described.GetOptions().Extensions[access_pb2.sensitive])


def has_sensitive(descriptor: Descriptor) -> bool:
    """Tell whether messages of a type can hold something sensitive, at any depth; `google.protobuf.Any` aside.

    Raises:
        ConfigurationError: a field that is neither string nor bytes is marked.
    """
    return _parts_of(descriptor).leads_to_some(set())


def change(message: Any, changed: Change) -> None:
    """Replace the value of each sensitive field of a message, in place; fields that are not set stay so."""
    _change(message, _parts_of(message.DESCRIPTOR), changed)


@lru_cache(MAX_TYPES)
def _parts_of(descriptor: Descriptor) -> _Parts:
    parts = _collect(descriptor, {})
    _prune(parts, set())
    return parts


def _collect(descriptor: Descriptor, found: dict[str, _Parts]) -> _Parts:
    if descriptor.full_name in found:
        return found[descriptor.full_name]
    parts = found[descriptor.full_name] = _Parts()
    for described in descriptor.fields:
        if is_sensitive(described):
            if described.type not in _TEXTS:
                raise ConfigurationError(
                    f"{described.full_name}: is sensitive, but neither string nor bytes; only these can be encrypted: "
                    "change its type, or mark the fields inside of it"
                )
            parts.own.append(described)
        elif described.message_type is not None:
            parts.inner.append((described, _collect(described.message_type, found)))
    return parts


def _prune(parts: _Parts, seen: set[int]) -> None:
    """Forget what leads to nothing, so that messages are not searched in vain."""
    if id(parts) in seen:
        return
    seen.add(id(parts))
    parts.inner = [(described, inner) for described, inner in parts.inner if inner.leads_to_some(set())]
    for _, inner in parts.inner:
        _prune(inner, seen)


def _change(message: Any, parts: _Parts, changed: Change) -> None:
    for described in parts.own:
        name, value = described.name, getattr(message, described.name)
        if described.is_repeated:
            value[:] = [changed(described.full_name, each) for each in value]
        elif message.HasField(name) if described.has_presence else value:
            setattr(message, name, changed(described.full_name, value))
    for described, inner in parts.inner:
        value = getattr(message, described.name)
        if described.message_type is not None and described.message_type.GetOptions().map_entry:
            value_parts = inner.inner[0][1]
            for each in value.values():
                _change(each, value_parts, changed)
        elif described.is_repeated:
            for each in value:
                _change(each, inner, changed)
        elif message.HasField(described.name):
            _change(value, inner, changed)
