"""The page of protos: services, what each rpc asks of its caller, messages, with the comments of the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from secure_rpc.v1 import access_pb2

from tools.docs_site.reference.tables import code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = Path("build/image.binpb")
ELSEWHERE = ("buf/", "google/")
INTRODUCTION = """# Protos

Made from the descriptors: those of the platform, the same in every service, and those of the example. An rpc says in
its options which permission it asks for; [policy](../service/docs/policy.md) says who has it.
"""
Comments = dict[tuple[int, ...], str]
TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}
MESSAGES, SERVICES, ENUMS, EXTENSIONS = 4, 6, 5, 7  # numbers of the fields of a file's descriptor
NESTED, FIELDS, METHODS, VALUES = 3, 2, 2, 2  # and of those inside


def page() -> str:
    """Return the page."""
    image = FileDescriptorSet.FromString(IMAGE.read_bytes())
    parts = [part for file in image.file if not file.name.startswith(ELSEWHERE) for part in of_file(file)]
    return "\n".join([INTRODUCTION, *parts])


def of_file(file: FileDescriptorProto) -> Iterator[str]:
    """Yield what is said of a file."""
    comments = {tuple(each.path): each.leading_comments.strip() for each in file.source_code_info.location}
    yield f"## {file.name}\n\nPackage `{file.package}`.\n"
    for number, service in enumerate(file.service):
        yield f"### {service.name}\n\n{comments.get((SERVICES, number), '')}\n"
        for index, method in enumerate(service.method):
            yield rpc(method, comments.get((SERVICES, number, METHODS, index), ""))
    for number, message in enumerate(file.message_type):
        yield from of_message(message, (MESSAGES, number), comments)
    for number, enum in enumerate(file.enum_type):
        said = [
            (code(value.name), value.number, flat(comments.get((ENUMS, number, VALUES, index), "")))
            for index, value in enumerate(enum.value)
        ]
        yield f"### {enum.name}\n\n{comments.get((ENUMS, number), '')}\n\n{table(('value', 'number', 'meaning'), said)}"
    if file.extension:
        options = [
            (code(each.name), code(each.extendee.strip(".")), each.number, flat(comments.get((EXTENSIONS, index), "")))
            for index, each in enumerate(file.extension)
        ]
        yield f"### Options\n\n{table(('option', 'of', 'number', 'meaning'), options)}"


def rpc(method: MethodDescriptorProto, comment: str) -> str:
    """Return what is said of an rpc."""
    asked, answered = (name.rpartition(".")[2] for name in (method.input_type, method.output_type))
    ways = [f"stream {name}" if streams else name for name, streams in (
        (asked, method.client_streaming), (answered, method.server_streaming)
    )]  # fmt: skip
    access = method.options.Extensions[access_pb2.access]
    rules = [
        f"- `{field.name}`: {', '.join(map(code, value)) if field.is_repeated else code(value)}"
        for field, value in access.ListFields()
    ]
    return (
        f"#### {method.name}\n\n`{ways[0]}` → `{ways[1]}`\n\n{comment}\n\nAsks of its caller:\n\n"
        + "\n".join(rules)
        + "\n"
    )


def of_message(message: DescriptorProto, path: tuple[int, ...], comments: Comments) -> Iterator[str]:
    """Yield what is said of a message and of those in it."""
    fields = [
        (code(field.name), field.number, kind(field), flat(comments.get((*path, FIELDS, index), "")))
        for index, field in enumerate(message.field)
    ]
    shown = table(("field", "number", "type", "meaning"), fields) if fields else "No fields.\n"
    yield f"### {message.name}\n\n{comments.get(path, '')}\n\n{shown}"
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from of_message(nested, (*path, NESTED, index), comments)


def kind(field: FieldDescriptorProto) -> str:
    """Return the type of a field, for people."""
    name = field.type_name.rpartition(".")[2] or TYPES[field.type]
    return f"repeated {code(name)}" if field.label == FieldDescriptorProto.LABEL_REPEATED else code(name)


def flat(text: str) -> str:
    """Return a comment in one line, for a cell."""
    return " ".join(text.split()).replace("|", "&#124;")
