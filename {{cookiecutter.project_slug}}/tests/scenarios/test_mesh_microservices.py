"""Microservices in a mesh: a phone asks the shop, the shop asks orders, orders asks stock.

Who is there: alice, logged in on her phone; three services in a row, each with a certificate of its own from the mesh's
CA, each with a policy that names its one neighbour.
What they want: alice's call goes down the row as alice's. She sets one deadline and one trace for all of it.
What may go wrong: a service in the middle is taken over. It must be worth no more than the calls that pass through it:
its own certificate opens nothing further down, and a token that it has kept opens nothing beside its place in the row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.parties import Party, neighbour, party, refusals, workload_id
from support.probe import Servicer
from support.sessions import said
from support.target import ISSUER, POLICY, Target, run_target

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = ("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-00")
DEADLINE_SECONDS = 20  # of alice's call, as `Target.call` sets it
DENIED = ("PERMISSION_DENIED", "PERMISSION_MISSING")


class Passing(Servicer):
    """Asks the next service in the row, as the user whose call it serves; the last one answers."""

    def __init__(self) -> None:
        super().__init__()
        self.next: Party | None = None
        self.seconds_left: list[float] = []

    async def Unary(self, request: pb.Ask, context: Any) -> pb.Answer:
        self.begun.release()
        self.seconds_left.append(context.time_remaining())
        if self.next is None:
            return pb.Answer(text=f"{request.act}: 3 in stock")
        stub: Any = probe_pb2_grpc.ProbeServiceStub(self.next.channel)
        bearer = dict(context.invocation_metadata())["authorization"]
        return await stub.Unary(request, metadata=(("authorization", bearer),))  # type: ignore[no-any-return]


class Row(NamedTuple):
    """The three services, first to last."""

    shop: Target
    orders: Target
    stock: Target


def only_from(workload: str) -> str:
    """Return a policy that lets users in whose calls come through one neighbour."""
    users = f'issuer: "{ISSUER}", group: callers'
    return POLICY.replace(users, f'{users}, workload: "{workload_id(workload)}"')


@pytest.fixture
async def row(application: Application, tmp_path: Path) -> AsyncIterator[Row]:
    stock, orders, shop = Passing(), Passing(), Passing()
    async with AsyncExitStack() as stack:

        async def start(name: str, servicer: Passing, caller: str, beside: Target | None) -> Target:
            folder = tmp_path / name
            neighbour(beside, folder, name) if beside else folder.mkdir()
            settings = {"service": {"name": name}}
            policy = only_from(caller)
            return await stack.enter_async_context(
                run_target(application, folder, settings, policy=policy, servicer=servicer)
            )

        last = await start("stock", stock, "orders", None)
        middle = await start("orders", orders, "shop", last)
        first = await start("shop", shop, "phone", last)
        orders.next = await stack.enter_async_context(party(last, "orders"))
        shop.next = await stack.enter_async_context(party(middle, "shop"))
        yield Row(first, middle, last)


async def test_a_users_call_goes_down_the_row_as_the_users_own(row: Row) -> None:
    async with party(row.shop, "phone", row.shop.token) as phone:
        told = await phone.ask(act="kettle", metadata=[TRACE])
    assert (told.code, told.messages) == (grpc.StatusCode.OK, ["kettle: 3 in stock"])

    records = [(await each.service.audit_records())[-1] for each in row]
    assert [record["workload"] for record in records] == [workload_id(name) for name in ("phone", "shop", "orders")]
    assert {(record["subject"], record["code"], record["trace_id"]) for record in records} == {
        ("alice", "OK", TRACE_ID)
    }
    left = [each.servicer.seconds_left[0] for each in row if isinstance(each.servicer, Passing)]
    assert DEADLINE_SECONDS >= left[0] > left[1] > left[2] > 0


async def test_a_service_that_was_taken_over_has_no_rights_to_lend(row: Row) -> None:
    kept = row.shop.token()  # alice's, which passed through
    async with (
        party(row.stock, "orders") as by_its_own_name,
        party(row.stock, "shop", lambda: kept) as past_its_neighbour,
        party(row.stock, "orders", lambda: row.shop.token("mallory")) as for_somebody_without_rights,
        party(row.shop, "phone", lambda: row.shop.token("mallory")) as mallory,
    ):
        assert said(await by_its_own_name.ask()) == ("UNAUTHENTICATED", "TOKEN_MISSING")
        assert said(await past_its_neighbour.ask()) == DENIED
        assert said(await for_somebody_without_rights.ask()) == DENIED
        assert said(await mallory.ask()) == DENIED
    assert (row.shop.begun, row.orders.begun, row.stock.begun) == (0, 0, 0)

    refused = [(each["workload"], each["subject"], each["reason"]) for each in await row.stock.service.audit_records()]
    assert refused == [
        (workload_id("orders"), "", "TOKEN_MISSING"),
        (workload_id("shop"), "alice", "PERMISSION_MISSING"),
        (workload_id("orders"), "mallory", "PERMISSION_MISSING"),
    ]
    assert refusals(row.stock, "PERMISSION_MISSING") == 2
