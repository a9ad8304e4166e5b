from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from {{ cookiecutter.package_name }} import service

ClientAs = Callable[[str], grpc.aio.Channel]


async def test_it_is_there_for_whoever_may_connect(client_as: ClientAs) -> None:
    stub: Any = health_pb2_grpc.HealthStub(client_as("alice"))
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_method_that_it_does_not_have_is_refused(client_as: ClientAs) -> None:
    call: Any = client_as("alice").unary_unary(f"/{service.NAME}/Nope")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
