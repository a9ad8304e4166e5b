"""Rules of a proto for which a look is enough: how long, how many, how large, one of which.

protovalidate needs a microsecond for them in a loop, but ten in a busy server, where nothing of it is in a cache. So
messages all of whose rules are plain are looked at first, and those that are seen to keep them are valid. The others
are left to protovalidate: so is every message with a rule that is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

RULES = "buf.validate."
MOST = 2**64  # more than any length, count or number

Keeps: TypeAlias = Callable[[Any], bool]  # tells of a message, or of a value, whether it is seen to keep its rules


def seen_to_keep(descriptor: Descriptor) -> Keeps | None:
    """Return what tells whether a message is seen to keep all rules of its proto; None where one is not plain."""
    return _of_message(descriptor, ())


def rules_of(described: Any) -> list[Message]:
    """Return the rules that a message, a field or a oneof has by itself."""
    return [value for extension, value in described.GetOptions().ListFields() if extension.full_name.startswith(RULES)]


def _of_message(descriptor: Descriptor, within: tuple[str, ...]) -> Keeps | None:
    if descriptor.full_name in within:  # how deep to look, the message would decide
        return None
    if any(map(rules_of, (descriptor, *descriptor.oneofs))):
        return None
    looks: list[Keeps] = []
    for field in descriptor.fields:
        look = _of_field(field, (*within, descriptor.full_name))
        if look is None:
            return None
        looks.append(look)
    return _all(looks)


def _of_field(field: FieldDescriptor, within: tuple[str, ...]) -> Keeps | None:
    """Return what tells of a message whether one of its fields keeps the field's rules."""
    rules = _plain_rules(field)
    keeps = None if rules is None else _of_value(field, rules, within)
    return None if rules is None or keeps is None else _of_part(field, keeps, is_required=bool(rules.get("required")))


def _of_part(field: FieldDescriptor, keeps: Keeps, *, is_required: bool) -> Keeps:
    name = field.name
    if field.has_presence:
        if keeps is _anything and not is_required:
            return _anything
        return lambda message: keeps(getattr(message, name)) if message.HasField(name) else not is_required
    of_value = _all([bool, keeps]) if is_required else keeps  # else it has the value that it begins with
    return _anything if of_value is _anything else lambda message: of_value(getattr(message, name))


def _plain_rules(field: FieldDescriptor) -> Mapping[str, Any] | None:
    """Return a field's rules by name, and as "type" the name of those for its type; None where one is not known."""
    rules: dict[str, Any] = {}
    for each in rules_of(field):
        for part, value in each.ListFields():
            if part.name == "required":
                rules["required"] = value
                continue
            if part.name not in _TYPES or len(UnknownFieldSet(value)):
                return None
            rules["type"] = part.name
            for rule, wanted in value.ListFields():
                if rule.is_extension or rule.name not in _TYPES[part.name].rules:
                    return None
                rules[rule.name] = wanted
        if len(UnknownFieldSet(each)):
            return None
    return rules


def _of_value(field: FieldDescriptor, rules: Mapping[str, Any], within: tuple[str, ...]) -> Keeps | None:
    of_type = rules.get("type", "")
    if field.message_type is not None and of_type not in {"", "repeated"}:  # a wrapper's are for what is within
        return None
    by_type = _TYPES[of_type].look(field, rules) if of_type else _anything
    if field.message_type is None:
        return by_type
    inner = _of_message(field.message_type, within)
    if inner is None or inner is _anything:
        return by_type if inner else None
    if not field.is_repeated:
        return inner
    if field.message_type.GetOptions().map_entry:
        return None
    return _all([by_type, lambda messages: all(map(inner, messages))])


def _lengths(field: FieldDescriptor, rules: Mapping[str, Any]) -> Keeps:
    expected = str if field.type == FieldDescriptor.TYPE_STRING else bytes
    low, high = rules.get("min_len", 0), rules.get("max_len", MOST)
    if "len" in rules:
        low, high = max(low, rules["len"]), min(high, rules["len"])
    # proto2 takes any bytes for a text, and those that are none are handed out as bytes
    return _all([lambda value: type(value) is expected and low <= len(value) <= high, *_choices(rules)])


def _numbers(_field: FieldDescriptor, rules: Mapping[str, Any]) -> Keeps:
    low = max(rules.get("gte", -MOST), rules.get("gt", -MOST) + 1)
    high = min(rules.get("lte", MOST), rules.get("lt", MOST) - 1)
    # where the bounds are the wrong way round, what lies outside of them is meant: none is seen to keep that
    return _all([lambda value: low <= value <= high, *_choices(rules)])


def _values(field: FieldDescriptor, rules: Mapping[str, Any]) -> Keeps:
    looks = _choices(rules)
    if rules.get("defined_only") and field.enum_type is not None:
        looks.append(frozenset(field.enum_type.values_by_number).__contains__)
    return _all(looks)


def _counts(_field: FieldDescriptor, rules: Mapping[str, Any]) -> Keeps:
    low, high = rules.get("min_items", 0), rules.get("max_items", MOST)
    return lambda values: low <= len(values) <= high


def _choices(rules: Mapping[str, Any]) -> list[Keeps]:
    looks: list[Keeps] = []
    if "const" in rules:
        looks.append(frozenset((rules["const"],)).__contains__)
    if "in" in rules:
        looks.append(frozenset(rules["in"]).__contains__)
    if "not_in" in rules:
        forbidden = frozenset(rules["not_in"])
        looks.append(lambda value: value not in forbidden)
    return looks


def _all(looks: list[Keeps]) -> Keeps:
    looks = [look for look in looks if look is not _anything]
    if len(looks) < 2:  # noqa: PLR2004
        return looks[0] if looks else _anything
    if len(looks) == 2:  # noqa: PLR2004  # as in most requests: whose, and which
        one, other = looks
        return lambda value: one(value) and other(value)

    def keeps(value: Any) -> bool:
        for look in looks:  # noqa: SIM110  # a generator costs more than the looks
            if not look(value):
                return False
        return True

    return keeps


def _anything(_value: Any) -> bool:
    return True


class _Type(NamedTuple):
    """Those rules for values of one type that are plain, and what returns the look at a value."""

    rules: frozenset[str]
    look: Callable[[FieldDescriptor, Mapping[str, Any]], Keeps]


_CHOICES = {"const", "in", "not_in", "example"}
_LENGTHS = _Type(frozenset({"min_len", "max_len", "len", *_CHOICES}), _lengths)
_NUMBERS = _Type(frozenset({"gt", "gte", "lt", "lte", *_CHOICES}), _numbers)
_TYPES = {
    "string": _LENGTHS,
    "bytes": _LENGTHS,
    "enum": _Type(frozenset({"defined_only", *_CHOICES}), _values),
    "repeated": _Type(frozenset({"min_items", "max_items"}), _counts),
    **{f"{kind}{bits}": _NUMBERS for kind in ("int", "uint", "sint", "fixed", "sfixed") for bits in (32, 64)},
}
