import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from secure_rpc.platform import Application
from secure_rpc.testing.service import RunningService, run_service

from {{ cookiecutter.package_name }}.v1 import {{ cookiecutter.__resource_file }}_pb2 as pb
from {{ cookiecutter.package_name }}.v1 import {{ cookiecutter.__resource_file }}_pb2_grpc as pb_grpc

ClientAs = Callable[[str], grpc.aio.Channel]


def stub_of(channel: grpc.aio.Channel) -> "pb_grpc.{{ cookiecutter.resource_name }}ServiceAsyncStub":
    return pb_grpc.{{ cookiecutter.resource_name }}ServiceStub(channel)


async def test_what_is_created_can_be_read(client_as: ClientAs) -> None:
    admin, reader = stub_of(client_as("alice")), stub_of(client_as("bob"))
    created = await admin.Create{{ cookiecutter.resource_name }}(
        pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="first"),
    )
    read = await reader.Get{{ cookiecutter.resource_name }}(
        pb.Get{{ cookiecutter.resource_name }}Request(tenant="acme", id=created.{{ cookiecutter.__resource_file }}.id),
    )
    assert read.{{ cookiecutter.__resource_file }}.title == "first"


async def test_what_is_not_there_is_not_found(client_as: ClientAs) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub_of(client_as("bob")).Get{{ cookiecutter.resource_name }}(
            pb.Get{{ cookiecutter.resource_name }}Request(tenant="acme", id="none"),
        )
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["id"]) == ("NOT_FOUND", "none")


async def test_a_watcher_sees_what_there_is_and_what_is_new(client_as: ClientAs) -> None:
    admin = stub_of(client_as("alice"))
    await admin.Create{{ cookiecutter.resource_name }}(
        pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="old"),
    )
    call = stub_of(client_as("bob")).Watch{{ cookiecutter.resource_plural }}(
        pb.Watch{{ cookiecutter.resource_plural }}Request(tenant="acme"),
    )
    watch = aiter(call)
    assert (await anext(watch)).{{ cookiecutter.__resource_file }}.title == "old"
    await admin.Create{{ cookiecutter.resource_name }}(
        pb.Create{{ cookiecutter.resource_name }}Request(tenant="globex", title="not ours"),
    )
    await admin.Create{{ cookiecutter.resource_name }}(
        pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="new"),
    )
    assert (await anext(watch)).{{ cookiecutter.__resource_file }}.title == "new"
    call.cancel()


async def test_a_watcher_goes_on_after_the_last_that_it_has_seen(client_as: ClientAs) -> None:
    admin, reader = stub_of(client_as("alice")), stub_of(client_as("bob"))
    for tenant, title in (("acme", "one"), ("globex", "not ours"), ("acme", "two"), ("acme", "three")):
        await admin.Create{{ cookiecutter.resource_name }}(
            pb.Create{{ cookiecutter.resource_name }}Request(tenant=tenant, title=title),
        )
    seen = []
    for after in (0, 1, 3):
        call = reader.Watch{{ cookiecutter.resource_plural }}(
            pb.Watch{{ cookiecutter.resource_plural }}Request(tenant="acme", after=after),
        )
        if after == 3:
            await admin.Create{{ cookiecutter.resource_name }}(
                pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="four"),
            )
        found = await anext(aiter(call))
        seen.append((found.sequence, found.{{ cookiecutter.__resource_file }}.title))
        call.cancel()
    assert seen == [(1, "one"), (2, "two"), (4, "four")]


@pytest.mark.parametrize(
    ("after", "code"),
    [(1, grpc.StatusCode.OUT_OF_RANGE), (-1, grpc.StatusCode.INVALID_ARGUMENT)],
)
async def test_a_watcher_cannot_go_on_after_what_is_not_there(
    client_as: ClientAs, after: int, code: grpc.StatusCode
) -> None:
    call = stub_of(client_as("bob")).Watch{{ cookiecutter.resource_plural }}(
        pb.Watch{{ cookiecutter.resource_plural }}Request(tenant="acme", after=after),
    )
    assert await call.code() is code


async def test_an_import_takes_all_and_a_sync_answers_each(client_as: ClientAs) -> None:
    stub = stub_of(client_as("alice"))
    wanted = [
        pb.Import{{ cookiecutter.resource_plural }}Request(tenant="acme", title="one"),
        pb.Import{{ cookiecutter.resource_plural }}Request(tenant="acme", title="two"),
    ]
    assert (await stub.Import{{ cookiecutter.resource_plural }}(iter(wanted))).imported == len(wanted)
    asked = [
        pb.Sync{{ cookiecutter.resource_plural }}Request(tenant="acme", id="1"),
        pb.Sync{{ cookiecutter.resource_plural }}Request(tenant="acme", id="none"),
    ]
    answers = [answer async for answer in stub.Sync{{ cookiecutter.resource_plural }}(iter(asked))]
    assert [answer.HasField("{{ cookiecutter.__resource_file }}") for answer in answers] == [True, False]


async def test_an_import_with_one_bad_message_stores_nothing(client_as: ClientAs) -> None:
    stub = stub_of(client_as("alice"))
    wanted = [
        pb.Import{{ cookiecutter.resource_plural }}Request(tenant="acme", title="good"),
        pb.Import{{ cookiecutter.resource_plural }}Request(tenant="acme", title=""),
    ]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Import{{ cookiecutter.resource_plural }}(iter(wanted))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    asked = [pb.Sync{{ cookiecutter.resource_plural }}Request(tenant="acme", id="1")]
    answers = [answer async for answer in stub.Sync{{ cookiecutter.resource_plural }}(iter(asked))]
    assert [answer.HasField("{{ cookiecutter.__resource_file }}") for answer in answers] == [False]


async def test_400_cancelled_uploads_store_nothing(application: Application, tmp_path: Path) -> None:
    uploads = 400
    async with run_service(application, tmp_path, {"quotas": {"bulk": {"calls": 1000}}}) as service:
        stub = stub_of(service.client_as("alice"))
        for number in range(uploads):
            call = stub.Import{{ cookiecutter.resource_plural }}()
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call.write(pb.Import{{ cookiecutter.resource_plural }}Request(tenant="acme", title=str(number)))
            await asyncio.sleep(0.002 * (number % 2))
            call.cancel()
        asked = [pb.Sync{{ cookiecutter.resource_plural }}Request(tenant="acme", id=str(n)) for n in range(1, uploads)]
        answers = [answer async for answer in stub.Sync{{ cookiecutter.resource_plural }}(iter(asked))]
        assert not any(answer.HasField("{{ cookiecutter.__resource_file }}") for answer in answers)
        codes = {record["code"] for record in await service.audit_records() if "Import" in record["method"]}
        assert codes <= {"CANCELLED"}


@pytest.mark.parametrize("caller", ["bob", "carol", ""])
async def test_who_may_not_write_is_refused_and_recorded(service: RunningService, caller: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub_of(service.client_as(caller)).Create{{ cookiecutter.resource_name }}(
            pb.Create{{ cookiecutter.resource_name }}Request(tenant="acme", title="mine now"),
        )
    expected = {
        "bob": ("PERMISSION_DENIED", "PERMISSION_MISSING"),
        "carol": ("PERMISSION_DENIED", "TENANT_DENIED"),
        "": ("UNAUTHENTICATED", "TOKEN_MISSING"),
    }
    [record] = await service.audit_records()
    assert (record["code"], record["reason"]) == expected[caller]
    assert caught.value.code().name == record["code"]
    assert record["subject"] == caller
