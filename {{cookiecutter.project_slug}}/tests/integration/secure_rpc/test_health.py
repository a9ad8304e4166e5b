"""The standard health service, on the port with mTLS."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.probe import SERVICE
from support.target import Target
from support.world import ending

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture
def health(target: Target) -> Any:
    """Ask without a token: health is public, for those whom TLS lets in."""
    return health_pb2_grpc.HealthStub(target.channel)


def request(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_the_server_and_its_services_say_that_they_serve(health: Any, service: str) -> None:
    assert (await health.Check(request(service))).status == SERVING
    watch = health.Watch(request(service))
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_a_service_that_does_not_exist_is_not_found_and_told_nothing_more(health: Any) -> None:
    told = await ending(health.Check(request("nope")))
    assert told.code is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(request("nope"))
    assert (await watch.read()).status == UNKNOWN
    watch.cancel()


async def test_checks_are_recorded_like_all_calls(target: Target, health: Any) -> None:
    await health.Check(request())
    [record] = await target.service.audit_records()
    assert (record["method"], record["code"], record["subject"]) == ("/grpc.health.v1.Health/Check", "OK", "")


async def test_a_malformed_check_is_refused_without_the_text_of_the_error(target: Target) -> None:
    check: Any = target.channel.unary_unary("/grpc.health.v1.Health/Check")
    told = await ending(check(b"\xff\xff", timeout=10))
    assert (told.code.name, told.details) == ("INVALID_ARGUMENT", "the request is malformed")


async def test_a_list_is_not_implemented_rather_than_served_past_the_chain(target: Target, health: Any) -> None:
    descriptor: Any = health_pb2.DESCRIPTOR.message_types_by_name["HealthListRequest"]
    list_request = message_factory.GetMessageClass(descriptor)
    assert (await ending(health.List(list_request()))).code is grpc.StatusCode.UNIMPLEMENTED
    [record] = await target.service.audit_records()
    assert record["code"] == "UNIMPLEMENTED"


async def test_watchers_are_told_of_a_shutdown_and_do_not_hold_it_up(target: Target, health: Any) -> None:
    watches = [health.Watch(request(service)) for service in ("", SERVICE)]
    for watch in watches:
        assert (await watch.read()).status == SERVING
    server = target.service.server
    async with asyncio.timeout(server.settings.shutdown.grace_seconds):
        await server.stop()
    for watch in watches:
        told = await ending(watch)
        assert [message.status for message in told.messages] == [NOT_SERVING]
        assert (told.code, told.details) == (grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
