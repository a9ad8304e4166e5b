"""The data of others: asked for at once, or amid a stream that began with one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.probe import Servicer
from support.target import Target, reason_of, run_target
from support.world import ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHERS = (
    "globex",
    "ACME",
    "acme ",
    " acme",
    "acme\0",
    "acme,globex",
    "acme/../globex",
    "*",
    "all",
    "own",
    "\N{CYRILLIC SMALL LETTER A}cme",
    "a" * 9999,
)
RECORDED = 128  # characters of a tenant's name


def ask_for(tenant: str) -> pb.Ask:
    return pb.Ask(act=f"data of {tenant}", tenant=tenant)


@pytest.mark.parametrize("tenant", OTHERS, ids=range(len(OTHERS)))
async def test_the_data_of_another_tenant_are_refused(target: Target, tenant: str) -> None:
    assert (await target.ask("TenantUnary", ask_for("acme"))).messages == ["data of acme"]
    begun = target.begun
    for shape in ("TenantUnary", "TenantBidi"):
        told = await target.ask(shape, ask_for(tenant))
        assert (told.messages, told.code.name, told.details) == ([], "PERMISSION_DENIED", "the tenant is not yours")
        assert reason_of(told.trailers).reason == "TENANT_DENIED"
        record = await target.record_of(told)
        assert (record["reason"], record["subject"]) == ("TENANT_DENIED", "alice")
        assert record["tenant"] == tenant[:RECORDED]
    assert target.begun == begun


async def test_no_tenant_is_no_way_to_all_of_them(target: Target) -> None:
    begun = target.begun
    for shape in ("TenantUnary", "TenantBidi"):
        told = await target.ask(shape, pb.Ask(act="data of all"))
        assert (told.code.name, reason_of(told.trailers).reason) == ("INVALID_ARGUMENT", "TENANT_MISSING")
        assert (await target.record_of(told))["reason"] == "TENANT_MISSING"
    assert target.begun == begun


@pytest.mark.parametrize("caller", ["mallory", ""])
async def test_who_has_no_permission_is_refused_before_any_tenant_is_read(target: Target, caller: str) -> None:
    authorization = f"Bearer {target.token(caller)}" if caller else ""
    for shape in ("TenantUnary", "TenantBidi"):
        told = await target.knock(shape, authorization=authorization)
        assert told.code.name == ("PERMISSION_DENIED" if caller else "UNAUTHENTICATED")
        record = await target.record_of(told)
        assert (record["subject"], record["tenant"]) == (caller, "")


class Stubborn(Servicer):
    """Takes no refusal, and goes on."""

    async def TenantBidi(self, request_iterator: AsyncIterator[pb.Ask], _context: Any) -> AsyncIterator[pb.Answer]:
        while True:
            with suppress(Exception):
                async for request in request_iterator:
                    yield await self.perform(request, None)
            yield pb.Answer(text="let us go on")


@pytest.mark.parametrize("servicer", [Servicer, Stubborn])
async def test_a_stream_that_turns_to_the_data_of_another_tenant_ends_there(
    application: Application, tmp_path: Path, servicer: type[Servicer]
) -> None:
    async with run_target(application, tmp_path, servicer=servicer()) as target:
        call = target.call("TenantBidi", open_=True)
        await call.write(ask_for("acme"))
        assert (await call.read()).text == "data of acme"
        await call.write(ask_for("globex"))
        told = await ending(call)
        assert (told.messages, told.code) == ([], grpc.StatusCode.PERMISSION_DENIED)
        assert reason_of(told.trailers).reason == "TENANT_DENIED"
        record = await target.record_of(told)
        assert (record["code"], record["reason"], record["tenant"]) == ("PERMISSION_DENIED", "TENANT_DENIED", "globex")
        assert target.begun == 1
