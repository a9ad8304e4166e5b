"""Methods by the hundred beside those of the service, as large services have them: each answers as `GetOrder` does."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

if TYPE_CHECKING:
    from secure_rpc.chain import Chain

SERVICE = "filler.v1.FillerService"
VARIABLE = "BENCHMARK_FURTHER_METHODS"


def add_filler(server: grpc.aio.Server | Chain) -> None:
    """Add as many methods as the environment says."""
    names = [f"Get{number}" for number in range(int(os.environ.get(VARIABLE, "0")))]
    if not names:
        return
    messages = importlib.import_module("order_service.v1.order_pb2")
    _describe(names)

    async def get(request: Any, _context: object) -> Any:
        return messages.GetOrderResponse(order=messages.Order(id=request.id, tenant=request.tenant))

    handler = grpc.unary_unary_rpc_method_handler(
        get,
        request_deserializer=messages.GetOrderRequest.FromString,
        response_serializer=messages.GetOrderResponse.SerializeToString,
    )
    handlers = dict.fromkeys(names, handler)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)  # as generated code does


def _describe(names: list[str]) -> None:
    """Make a proto of them, with the access rule of `GetOrder`."""
    pool = descriptor_pool.Default()
    get = pool.FindMethodByName("order_service.v1.OrderService.GetOrder")
    file = descriptor_pb2.FileDescriptorProto(name="filler/v1/filler.proto", package="filler.v1", syntax="proto3")
    file.dependency.append(get.containing_service.file.name)
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for name in names:
        method = service.method.add(
            name=name,
            input_type=f".{get.input_type.full_name}",
            output_type=f".{get.output_type.full_name}",
        )
        access = importlib.import_module("secure_rpc.v1.access_pb2").access
        method.options.Extensions[access].CopyFrom(get.GetOptions().Extensions[access])
    pool.AddSerializedFile(file.SerializeToString())
