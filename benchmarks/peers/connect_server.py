"""Connect: the same message over HTTP/1.1 by the package `connectrpc`, the token verified by PyJWT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.peers.common import KEPT, serve
from benchmarks.tokens import Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "order_service.v1.OrderService"
FIELDS = {"GetOrderRequest": ("tenant", "id"), "Order": ("id", "tenant", "title")}


def messages() -> dict[str, Any]:
    """Return the messages of the measured method, without the rules that stand in their proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="peer.proto", package="order_service.v1", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            message.field.add(name=field, number=number, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    response = file.message_type.add(name="GetOrderResponse")
    response.field.add(
        name="order", number=1, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_OPTIONAL, type_name=".order_service.v1.Order"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = (*FIELDS, "GetOrderResponse")
    found = {name: pool.FindMessageTypeByName(f"order_service.v1.{name}") for name in names}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


class Binary:
    """Messages of Google's protobuf on the wire."""

    def name(self) -> str:
        """Return its name."""
        return "proto"

    def encode(self, message: Any) -> bytes:
        """Return a message as bytes."""
        data: bytes = message.SerializeToString()
        return data

    def decode(self, data: bytes | bytearray, message_class: Any) -> Any:
        """Return bytes as a message."""
        return message_class.FromString(bytes(data))


def main() -> None:
    """Serve."""
    kinds, verifier = messages(), Verifier()

    async def get(request: Any, context: Any) -> Any:
        try:
            claims = verifier.verify(context.request_headers.get("authorization", ""))
        except ValueError as error:
            raise ConnectError(Code.UNAUTHENTICATED, "who are you?") from error
        if request.tenant not in claims["tenant"]:
            raise ConnectError(Code.PERMISSION_DENIED, "not yours")
        if (title := KEPT.get((request.tenant, request.id))) is None:
            raise ConnectError(Code.NOT_FOUND, "there is none of that id")
        order = kinds["Order"](id=request.id, tenant=request.tenant, title=title)
        return kinds["GetOrderResponse"](order=order)

    method = MethodInfo(
        name="GetOrder", service_name=SERVICE, input=kinds["GetOrderRequest"], output=kinds["GetOrderResponse"],
        idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS, stream_type=StreamType.UNARY,
    )  # fmt: skip

    class Application(ConnectASGIApplication[None]):  # type: ignore[misc]  # not installed where types are checked
        @property
        def path(self) -> str:
            return f"/{SERVICE}"

    def endpoints(_service: None) -> Mapping[str, Any]:
        return {f"/{SERVICE}/GetOrder": Endpoint.unary(method=method, function=get)}

    serve(Application(service=None, endpoints=endpoints, codecs=[Binary()]))
