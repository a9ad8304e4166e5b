"""A look at a message never takes one for valid that protovalidate does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_rpc.stages.plain_rules import Keeps, seen_to_keep

FieldProto = descriptor_pb2.FieldDescriptorProto
FileProto = descriptor_pb2.FileDescriptorProto
STRING, BYTES = FieldProto.TYPE_STRING, FieldProto.TYPE_BYTES
INTEGERS = {"int32": FieldProto.TYPE_INT32, "uint64": FieldProto.TYPE_UINT64, "sint32": FieldProto.TYPE_SINT32}
VALIDATOR = protovalidate.Validator()
NUMBERS = itertools.count()
ENUM, INNER, FIELD = "Kind", "Inner", "value"


def rules(text: dict[str, Any]) -> validate_pb2.FieldRules:
    """Return rules as a dictionary has them: of a type, or "required"."""
    made = validate_pb2.FieldRules()
    for kind, of_kind in text.items():
        if not isinstance(of_kind, dict):
            setattr(made, kind, of_kind)
            continue
        getattr(made, kind).SetInParent()
        for name, value in of_kind.items():
            if isinstance(value, list):
                getattr(getattr(made, kind), name).extend(value)
            else:
                setattr(getattr(made, kind), name, value)
    return made


def message_of(
    kind: int,
    wanted: validate_pb2.FieldRules,
    *,
    repeated: bool = False,
    optional: bool = False,
    inner: validate_pb2.FieldRules | None = None,
    change: Callable[[FileProto], object] = id,
) -> type[Any]:
    """Return a message, the first of its file, with one field of some type under some rules.

    Args:
        kind: the type of the field; a message has a text with the rules of `inner`.
        wanted: the rules of the field.
        repeated: whether it has many values.
        optional: whether it may have none.
        inner: the rules within.
        change: what is otherwise in the file; does it.
    """
    package = f"plain{next(NUMBERS)}"
    file = FileProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend([validate_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name])
    enum = file.enum_type.add(name=ENUM)
    for number in (0, 1, 2, 7):
        enum.value.add(name=f"{package.upper()}_{number}", number=number)
    outer = file.message_type.add(name="Outer")
    field = outer.field.add(name=FIELD, number=1, type=kind, label=FieldProto.LABEL_OPTIONAL)
    field.label = FieldProto.LABEL_REPEATED if repeated else FieldProto.LABEL_OPTIONAL
    if kind in {FieldProto.TYPE_ENUM, FieldProto.TYPE_MESSAGE}:
        field.type_name = f".{package}.{ENUM if kind == FieldProto.TYPE_ENUM else INNER}"
    if optional and not repeated:
        outer.oneof_decl.add(name="_value")
        field.oneof_index, field.proto3_optional = 0, True
    if wanted.ListFields():
        field.options.Extensions[validate_pb2.field].CopyFrom(wanted)
    text = file.message_type.add(name=INNER).field.add(name="text", number=1, type=STRING, label=1)
    if inner is not None:
        text.options.Extensions[validate_pb2.field].CopyFrom(inner)
    change(file)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Outer"))


def is_seen(made: type[Any]) -> Keeps:
    """Return what looks at messages, whose rules have to be plain."""
    seen = seen_to_keep(made.DESCRIPTOR)
    assert seen is not None
    return seen


def is_valid(message: Any) -> bool:
    """Tell what protovalidate says."""
    return not VALIDATOR.collect_violations(message)


LENGTHS = st.integers(0, 6)
SMALL = st.integers(-5, 9)
TEXTS = st.text("aä€😀", max_size=7)


@st.composite
def any_field(draw: st.DrawFn) -> tuple[int, dict[str, Any], st.SearchStrategy[Any], bool]:
    """Return a type, plain rules of it, what may stand in it, and whether it has many values."""
    choice = draw(st.sampled_from(["string", "bytes", "enum", "repeated", *INTEGERS]))
    chosen: dict[str, Any] = {}
    values: st.SearchStrategy[Any]
    some: st.SearchStrategy[list[Any]]
    low, high = sorted((draw(LENGTHS), draw(LENGTHS)))
    if choice in {"string", "bytes"}:
        kind, values = (STRING, TEXTS) if choice == "string" else (BYTES, st.binary(max_size=7))
        some = st.lists(values, min_size=1, max_size=3)
        possible = {"min_len": low, "max_len": high, "len": low, "in": draw(some), "not_in": draw(some)}
    elif choice == "enum":
        kind, values, some = FieldProto.TYPE_ENUM, st.integers(0, 8), st.lists(st.integers(0, 8), min_size=1)
        possible = {"defined_only": True, "in": draw(some), "not_in": draw(some), "const": draw(st.integers(0, 8))}
    elif choice == "repeated":
        kind, values, possible = STRING, st.lists(TEXTS, max_size=7), {"min_items": low, "max_items": high}
    else:
        kind = INTEGERS[choice]
        values = st.integers(0, 9) if choice.startswith("u") else SMALL
        bounds = draw(st.tuples(st.sampled_from(["gt", "gte"]), values, st.sampled_from(["lt", "lte"]), values))
        some = st.lists(values, min_size=1, max_size=3)
        possible = {bounds[0]: bounds[1], bounds[2]: bounds[3], "in": draw(some), "not_in": draw(some)}
    for name in draw(st.lists(st.sampled_from(sorted(possible)), max_size=3, unique=True)):
        chosen[name] = possible[name]
    wanted: dict[str, Any] = {choice: chosen}
    if draw(st.booleans()):
        wanted["required"] = True
    return kind, wanted, values, choice == "repeated"


TEXT_VALUES = ["", "a", "ä", "ab", "€😀", "abc", "abcd"]
INTEGER_VALUES = list(range(-3, 6))
EACH_ALONE: list[tuple[int, dict[str, Any], list[Any]]] = [
    *((STRING, {"string": {name: 2}}, TEXT_VALUES) for name in ("min_len", "max_len", "len")),
    *((BYTES, {"bytes": {name: 2}}, [text.encode() for text in TEXT_VALUES]) for name in ("min_len", "max_len", "len")),
    *((STRING, {"string": {name: ["ab", "a"]}}, TEXT_VALUES) for name in ("in", "not_in")),
    (STRING, {"string": {"const": "ab"}}, TEXT_VALUES),
    *((INTEGERS["int32"], {"int32": {name: 2}}, INTEGER_VALUES) for name in ("gt", "gte", "lt", "lte", "const")),
    *((INTEGERS["int32"], {"int32": {name: [2, -3]}}, INTEGER_VALUES) for name in ("in", "not_in")),
    (FieldProto.TYPE_ENUM, {"enum": {"defined_only": True}}, list(range(9))),
    *((FieldProto.TYPE_ENUM, {"enum": {name: [0, 7]}}, list(range(9))) for name in ("in", "not_in")),
    *((STRING, {"repeated": {name: 2}}, [["a"] * count for count in range(5)]) for name in ("min_items", "max_items")),
]


@pytest.mark.parametrize(("kind", "wanted", "values"), EACH_ALONE)
def test_each_rule_alone_is_kept_by_what_is_valid_and_by_nothing_else(
    kind: int, wanted: dict[str, Any], values: list[Any]
) -> None:
    made = message_of(kind, rules(wanted), repeated="repeated" in wanted)
    seen = is_seen(made)
    messages = [made(**{FIELD: value}) for value in values]
    assert {is_valid(message) for message in messages} == {True, False}
    assert [seen(message) for message in messages] == [is_valid(message) for message in messages]


@settings(max_examples=150)
@given(field=any_field(), optional=st.booleans(), data=st.data())
def test_what_is_seen_to_keep_its_rules_is_valid(
    *, field: tuple[int, dict[str, Any], st.SearchStrategy[Any], bool], optional: bool, data: st.DataObject
) -> None:
    kind, wanted, values, repeated = field
    made = message_of(kind, rules(wanted), repeated=repeated, optional=optional)
    seen = is_seen(made)
    bounds = next(of_type for name, of_type in wanted.items() if name != "required")
    inverted = bounds.get("gt", bounds.get("gte", -9)) >= bounds.get("lt", bounds.get("lte", 99))
    for value in [None, *data.draw(st.lists(values, min_size=5, max_size=20))]:
        message = made() if value is None else made(**{FIELD: value})
        if inverted:
            assert not seen(message) or is_valid(message)
        else:
            assert seen(message) == is_valid(message), (wanted, value)


@settings(max_examples=60)
@given(low=LENGTHS, high=LENGTHS, required=st.booleans(), repeated=st.booleans(), texts=st.lists(TEXTS, max_size=4))
def test_what_is_within_is_looked_at_too(
    *, low: int, high: int, required: bool, repeated: bool, texts: list[str]
) -> None:
    outer: dict[str, Any] = {"repeated": {"min_items": 1, "max_items": 2}} if repeated else {"required": required}
    inner = rules({"string": {"min_len": low, "max_len": high}}) if low <= high else None
    made = message_of(FieldProto.TYPE_MESSAGE, rules(outer), repeated=repeated, inner=inner)
    seen = is_seen(made)
    kept = [{"text": text} for text in texts]
    messages = [made(**{FIELD: kept})] if repeated else [made(), *(made(**{FIELD: each}) for each in kept)]
    for message in messages:
        assert seen(message) == is_valid(message)


@pytest.mark.parametrize(
    "wanted",
    [
        {"string": {"pattern": "^a+$"}},
        {"string": {"min_len": 1, "email": True}},
        {"string": {"min_bytes": 1}},
        {"string": {"prefix": "a"}},
        {"string": {"max_len": 9}, "ignore": validate_pb2.IGNORE_IF_ZERO_VALUE},
    ],
)
def test_a_rule_that_is_not_known_for_plain_is_left_to_protovalidate(wanted: dict[str, Any]) -> None:
    assert seen_to_keep(message_of(STRING, rules(wanted)).DESCRIPTOR) is None


def test_rules_of_elements_are_left_to_protovalidate() -> None:
    wanted = validate_pb2.FieldRules()
    wanted.repeated.items.string.min_len = 1
    assert seen_to_keep(message_of(STRING, wanted, repeated=True).DESCRIPTOR) is None
    wanted = rules({"repeated": {"unique": True}})
    assert seen_to_keep(message_of(STRING, wanted, repeated=True).DESCRIPTOR) is None


def test_cel_is_left_to_protovalidate() -> None:
    wanted = rules({"string": {"min_len": 1}})
    wanted.cel.add(id="a", message="no", expression="this != 'a'")
    assert seen_to_keep(message_of(STRING, wanted).DESCRIPTOR) is None

    def of_the_whole(file: FileProto) -> None:
        options = file.message_type[0].options.Extensions[validate_pb2.message]
        options.cel.add(id="whole", message="no", expression="this.value != 'a'")

    assert seen_to_keep(message_of(STRING, rules({}), change=of_the_whole).DESCRIPTOR) is None


def test_a_oneof_that_must_be_set_is_left_to_protovalidate() -> None:
    def choice(file: FileProto) -> None:
        file.message_type[0].oneof_decl.add(name="choice").options.Extensions[validate_pb2.oneof].required = True
        file.message_type[0].field[0].oneof_index = 0

    assert seen_to_keep(message_of(STRING, rules({}), change=choice).DESCRIPTOR) is None


@pytest.mark.parametrize("place", ["field", "type"])
def test_a_rule_that_this_process_cannot_read_is_left_to_protovalidate(place: str) -> None:
    unknown = b"\xfa\x7f\x01a"  # field 2047: one byte
    wanted = rules({"string": {"min_len": 1}})
    (wanted if place == "field" else wanted.string).MergeFromString(unknown)
    assert seen_to_keep(message_of(STRING, wanted).DESCRIPTOR) is None


def test_a_rule_of_the_teams_own_is_left_to_protovalidate_whatever_its_name() -> None:
    package = f"plain{next(NUMBERS)}"
    file = FileProto(
        name=f"{package}.proto", package=package, syntax="proto2", dependency=[validate_pb2.DESCRIPTOR.name]
    )
    own = file.extension.add(name="min_len", number=1000 + next(NUMBERS), type=FieldProto.TYPE_BOOL, label=1)
    own.extendee = ".buf.validate.StringRules"
    own.options.Extensions[validate_pb2.predefined].cel.add(id="own", message="no", expression="this != 'a'")
    descriptor_pool.Default().Add(file)
    wanted = validate_pb2.FieldRules()
    extension: Any = descriptor_pool.Default().FindExtensionByName(f"{package}.min_len")
    wanted.string.Extensions[extension] = True
    made = message_of(STRING, wanted, change=lambda using: using.dependency.append(file.name))
    assert not is_valid(made(value="a"))
    assert seen_to_keep(made.DESCRIPTOR) is None


@pytest.mark.parametrize(
    ("wrapper", "wanted"), [("StringValue", {"string": {"min_len": 2}}), ("Int32Value", {"int32": {"gt": 2}})]
)
def test_rules_of_what_a_wrapper_holds_are_left_to_protovalidate(wrapper: str, wanted: dict[str, Any]) -> None:
    def wrapped(file: FileProto) -> None:
        file.message_type[0].field[0].type_name = f".google.protobuf.{wrapper}"

    made = message_of(FieldProto.TYPE_MESSAGE, rules(wanted), change=wrapped)
    assert is_valid(made())
    assert seen_to_keep(made.DESCRIPTOR) is None


def test_bytes_that_are_no_text_are_left_to_protovalidate() -> None:
    def older(file: FileProto) -> None:
        file.syntax = "proto2"
        del file.enum_type[:]

    made = message_of(STRING, rules({"string": {"max_len": 9}}), change=older)
    seen = is_seen(made)
    assert seen(made(**{FIELD: "text"}))
    message = made()
    message.ParseFromString(b"\x0a\x02\xff\xfe")
    assert not seen(message)


def test_a_message_that_holds_itself_is_left_to_protovalidate() -> None:
    assert seen_to_keep(descriptor_pb2.DescriptorProto.DESCRIPTOR) is None


def test_a_map_whose_values_have_rules_is_left_to_protovalidate() -> None:
    def mapped(file: FileProto) -> None:
        outer = file.message_type[0]
        entry = outer.nested_type.add(name="ValueEntry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=STRING, label=1)
        entry.field.add(name="value", number=2, type=11, label=1, type_name=outer.field[0].type_name)
        outer.field[0].type_name = f".{file.package}.Outer.ValueEntry"

    inner = rules({"string": {"min_len": 1}})
    made = message_of(FieldProto.TYPE_MESSAGE, rules({}), repeated=True, inner=inner, change=mapped)
    assert not is_valid(made(**{FIELD: {"key": {"text": ""}}}))
    assert seen_to_keep(made.DESCRIPTOR) is None


def test_no_rule_is_kept_by_anything() -> None:
    made = message_of(STRING, rules({}))
    assert is_seen(made)(made(value="a"))
