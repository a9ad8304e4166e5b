"""Messages as people may see them: without what their fields mark as sensitive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from secure_rpc.sensitive import is_sensitive

REDACTED = "[redacted]"


def is_hidden(field: FieldDescriptor) -> bool:
    """Tell whether what a field holds is shown nowhere: it is `sensitive`, or `debug_redact` as protobuf has it."""
    return is_sensitive(field) or field.GetOptions().debug_redact


def redacted(message: Message) -> dict[str, Any]:
    """Return a message in the form of its JSON, with "[redacted]" in place of what is hidden, at any depth."""
    told: dict[str, Any] = json_format.MessageToDict(message)
    _hide(told, message.DESCRIPTOR)
    return told


def _hide(told: Any, descriptor: Any) -> None:
    if not isinstance(told, dict):  # a type with a form of its own, as a time stamp
        return
    if isinstance(kind := told.get("@type"), str) and descriptor.full_name == "google.protobuf.Any":
        _hide(told, descriptor_pool.Default().FindMessageTypeByName(kind.rpartition("/")[2]))
        return
    for field in descriptor.fields:
        value = told.get(field.json_name)
        if value is None:
            continue
        if is_hidden(field):
            told[field.json_name] = REDACTED
        elif (kind_of_value := field.message_type) is not None:
            if not kind_of_value.GetOptions().map_entry:
                _hide_each(value if isinstance(value, list) else [value], kind_of_value)
            elif isinstance(value, dict):
                _hide_each(value.values(), kind_of_value.fields_by_name["value"].message_type)


def _hide_each(values: Iterable[Any], descriptor: Any) -> None:
    for value in values if descriptor is not None else ():
        _hide(value, descriptor)
