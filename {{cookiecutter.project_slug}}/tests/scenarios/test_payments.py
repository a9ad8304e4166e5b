"""Payments: money moves once, whoever repeats the call, and what was ordered is what is done.

Who is there: alice, who pays; her phone, which tries again when an answer does not come; a proxy in the company's
network that ends TLS, with a certificate that both sides trust; somebody who has recorded its traffic; an auditor.
What they want: a call that was made is answered, again and again if need be, and run once. What alice signed is what
the bank reads.
What may go wrong: the answer is lost and the phone pays twice; a recorded call is played again; the proxy alters the
sum, or sends alice's order to another method; the bank restarts, and has forgotten what was paid.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.client import new_idempotency_key
from secure_rpc.platform import Application
from secure_rpc.stages.integrity import PROOF_KEY

from probe.v1 import probe_pb2 as pb
from support.altering_proxy import Alter, Passing, run_proxy
from support.parties import party, refusals, workload_id
from support.probe import Servicer, SignedServicer
from support.sessions import said
from support.signing import new_key, private_pem, public_pem, write_keys
from support.target import ISSUER, Target, run_target

PAY = "pay 10 to bob"
ALICES_KEY = new_key()  # by which she signs; the bank has its public half
SIGNED = "/probe.v1.SignedService/Signed"


class Bank(Servicer):
    """Keeps book of what was paid."""

    def __init__(self, book: list[str]) -> None:
        super().__init__()
        self.book = book

    async def Unary(self, request: pb.Ask, context: Any) -> pb.Answer:
        del context
        self.begun.release()
        self.book.append(request.act)
        return pb.Answer(text=f"payment {len(self.book)}")

    Protected = Unary


def clear(folder: Path) -> None:
    """Take out what clients have left before a restart."""
    folder.mkdir(exist_ok=True)
    for left in folder.glob("dev/*-*/"):
        shutil.rmtree(left)


@asynccontextmanager
async def bank(application: Application, folder: Path, book: list[str]) -> AsyncIterator[Target]:
    """Open the bank, which knows alice's key; what it remembers of calls stands in a file, and outlives a restart."""
    clear(folder)
    probe = Bank(book)
    keys = {"alice": {"public_key": public_pem(ALICES_KEY), "issuer": ISSUER, "subject": "alice"}}
    settings = {
        "replay": {"file": folder / "calls.db"},
        "integrity": {"signing_keys_file": write_keys(folder / "keys.yaml", keys), "certificate_keys": False},
    }
    add = [SignedServicer(probe).add]
    async with run_target(application, folder, settings, servicer=probe, add=add) as target:
        yield target


@pytest.fixture
def book() -> list[str]:
    return []


@pytest.fixture
async def open_bank(application: Application, tmp_path: Path, book: list[str]) -> AsyncIterator[Target]:
    async with bank(application, tmp_path / "bank", book) as target:
        yield target


async def test_an_answer_that_is_lost_is_given_again_and_the_money_moves_once(
    open_bank: Target, book: list[str]
) -> None:
    async with run_proxy(open_bank) as proxy, party(open_bank, "phone", open_bank.token, address=proxy.target) as phone:
        key = new_idempotency_key()
        proxy.lost_answers = 2
        ended = [await phone.ask("Protected", PAY, metadata=[key]) for _ in range(4)]
    assert [each.code.name for each in ended] == ["UNAVAILABLE", "UNAVAILABLE", "OK", "OK"]
    assert [each.messages for each in ended[2:]] == [["payment 1"], ["payment 1"]]
    assert book == [PAY]
    records = await open_bank.service.audit_records()
    assert {each["code"] for each in records} == {"OK"}  # each attempt has its record
    assert [each["rule"].endswith("; answered as it was before") for each in records] == [False, True, True, True]
    assert open_bank.service.metric("secure_rpc_idempotent_answers_total") == 3


async def test_a_recorded_call_is_refused_on_any_connection_and_after_a_restart(
    application: Application, tmp_path: Path, book: list[str]
) -> None:
    folder = tmp_path / "bank"
    async with bank(application, folder, book) as before, run_proxy(before) as proxy:
        async with party(before, "phone", before.token, address=proxy.target) as phone:
            assert said(await phone.ask("Protected", PAY)) == ("OK", "")
        [recorded] = proxy.captured
        told = await proxy.send(recorded)
        assert said(told) == ("ALREADY_EXISTS", "REPLAYED")
        assert (await before.record_of(told))["subject"] == "alice"
        assert before.service.metric("secure_rpc_replays_detected_total") == 1
    async with bank(application, folder, book) as after, run_proxy(after) as proxy:
        assert said(await proxy.send(recorded)) == ("ALREADY_EXISTS", "REPLAYED")
    assert book == [PAY]


def with_another_sum(passing: Passing) -> Passing:
    return replace(passing, body=pb.Ask(act="pay 9000 to mallory").SerializeToString())


def without_a_signature(passing: Passing) -> Passing:
    return passing.with_header(PROOF_KEY, None)


def as_another_order(passing: Passing) -> Passing:
    return replace(passing, path=f"{SIGNED}Stream")


ALTERED: dict[str, tuple[Alter, str]] = {
    "another sum": (with_another_sum, "PROOF_BODY_ALTERED"),
    "no signature": (without_a_signature, "PROOF_MISSING"),
    "another method": (as_another_order, "PROOF_FOR_ANOTHER_METHOD"),
}


@pytest.mark.parametrize(("alter", "recorded"), ALTERED.values(), ids=ALTERED)
async def test_what_the_proxy_alters_is_refused_and_what_it_repeats(
    open_bank: Target, tmp_path: Path, book: list[str], alter: Alter, recorded: str
) -> None:
    key = tmp_path / "alice.key"
    key.write_bytes(private_pem(ALICES_KEY))
    async with (
        run_proxy(open_bank) as proxy,
        party(
            open_bank, "phone", open_bank.token, address=proxy.target, signing_key_file=key, signing_key_id="alice"
        ) as phone,
    ):
        assert said(await phone.ask("Signed", PAY)) == ("OK", "")
        proxy.alter = alter
        told = await phone.ask("Signed", PAY)
        assert told.code is grpc.StatusCode.UNAUTHENTICATED
        record = await open_bank.record_of(told)
        assert (record["reason"], record["workload"]) == (recorded, workload_id("proxy"))
        assert said(await proxy.send(proxy.captured[0])) == ("ALREADY_EXISTS", "REPLAYED")
    assert book == [PAY]
    assert refusals(open_bank, recorded) == 1
