"""Reflection: off unless the settings say otherwise, and then for those who have its permission."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2_grpc

from secure_rpc.platform import Application

from support.probe import SERVICE
from support.target import ISSUER, POLICY, Target, reason_of, run_target
from support.world import Ending, ending

ON = {"reflection": {"enabled": True}}
FOR_BOB = (
    POLICY.replace("bindings:", "  operator: { permissions: [reflection.read] }\nbindings:")
    + f'  - {{ role: operator, principals: [{{ issuer: "{ISSUER}", subject: bob }}] }}\n'
)


async def list_services(target: Target, caller: str) -> Ending:
    metadata = (("authorization", f"Bearer {target.token(caller)}"),) if caller else ()
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", target.channel))
    call = stub.ServerReflectionInfo(metadata=metadata, timeout=10)
    if caller == "bob":
        await call.write(pb.ServerReflectionRequest(list_services=""))
        await call.done_writing()
    return await ending(call)


async def test_who_has_the_permission_is_told_the_services(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, ON, policy=FOR_BOB) as target:
        told = await list_services(target, "bob")
        assert told.code.name == "OK"
        [answer] = told.messages
        names = {service.name for service in answer.list_services_response.service}
        assert names == {SERVICE, "grpc.health.v1.Health"}


@pytest.mark.parametrize(
    ("caller", "code", "reason"),
    [
        ("alice", "PERMISSION_DENIED", "PERMISSION_MISSING"),
        ("mallory", "PERMISSION_DENIED", "PERMISSION_MISSING"),
        ("", "UNAUTHENTICATED", "TOKEN_MISSING"),
    ],
)
async def test_nobody_else_is_told_anything(
    application: Application, tmp_path: Path, caller: str, code: str, reason: str
) -> None:
    async with run_target(application, tmp_path, ON, policy=FOR_BOB) as target:
        told = await list_services(target, caller)
        assert (told.code.name, told.messages, reason_of(told.trailers).reason) == (code, [], reason)
        assert (await target.record_of(told))["subject"] == caller


async def test_without_the_setting_there_is_no_such_method(target: Target) -> None:
    told = await list_services(target, "alice")
    assert (told.code.name, told.messages) == ("UNIMPLEMENTED", [])
