"""Services whose protos are wrong, made as they are needed: each has one method, `Call`, that takes an `Ask`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from buf.validate import validate_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from secure_rpc.v1 import access_pb2

from probe.v1 import probe_pb2 as pb

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Unsound:
    """A service that no server should start with, or that should not lend a hand to any attack."""

    service: str
    request: Any

    @property
    def path(self) -> str:
        """Return the path of its method."""
        return f"/{self.service}/Call"

    def adding(self, answer: Callable[[Any, Any], Any] | None = None) -> Callable[[Any], None]:
        """Return what adds it to a server."""

        async def nothing(_request: object, _context: object) -> pb.Answer:
            return pb.Answer()

        handler = grpc.unary_unary_rpc_method_handler(
            answer or nothing, self.request.FromString, pb.Answer.SerializeToString
        )
        return lambda server: server.add_registered_method_handlers(self.service, {"Call": handler})


def service_with_access(access: access_pb2.Access | None) -> Unsound:
    """Return a service whose method says this of who may call it; None: it says nothing."""
    return _service(access, "")


def service_with_rule(expression: str) -> Unsound:
    """Return a service whose requests have a rule in CEL."""
    return _service(access_pb2.Access(permissions=["probe.call"]), expression)


def _service(access: access_pb2.Access | None, expression: str) -> Unsound:
    package = f"hostile{next(_numbers)}.v1"
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend([pb.DESCRIPTOR.name, access_pb2.DESCRIPTOR.name, validate_pb2.DESCRIPTOR.name])
    request = file.message_type.add(name="Ask")
    for number, (name, kind) in enumerate({"act": 9, "tenant": 9, "count": 5}.items(), start=1):
        request.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if expression:
        rule = request.options.Extensions[validate_pb2.message].cel.add()
        rule.id, rule.message, rule.expression = "unsound", "broken", expression
    method = file.service.add(name="Service").method.add(name="Call")
    method.input_type, method.output_type = f".{package}.Ask", f".{pb.Answer.DESCRIPTOR.full_name}"
    if access is not None:
        method.options.Extensions[access_pb2.access].CopyFrom(access)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return Unsound(f"{package}.Service", message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Ask")))
