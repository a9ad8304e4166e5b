"""Sound tokens in the wrong hands: bound to another's certificate, or of an issuer for other workloads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from secure_rpc.dev.authority import Leaf, Request
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.platform import Application

from support.hostile_certificates import SOUND_ID, TRUST_DOMAIN, named
from support.target import KINDS, Target, reason_of, run_target

pytestmark = pytest.mark.asyncio(loop_scope="module")


def thumbprint(leaf: Leaf) -> str:
    return certificate_reader(TRUST_DOMAIN)(leaf.certificate_pem, b"").thumbprint


class Theft:
    """An owner with a token that is bound to the owner's certificate."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.owner = target.service.issue(Request("owner", uris=[f"spiffe://{TRUST_DOMAIN}/client/owner"]))
        self.token = self.bound_to({"x5t#S256": thumbprint(self.owner)})

    def bound_to(self, confirmation: Any) -> str:
        return self.target.service.token_of("alice", cnf=confirmation)

    async def refuse(self, leaf: Leaf, token: str, recorded: str, *, told: str = "TOKEN_INVALID") -> None:
        """Fail if the token is believed of its bearer, or if the bearer learns what only the record may say."""
        begun = self.target.begun
        async with self.target.bare_channel(leaf) as channel:
            for shape in KINDS:
                ended = await self.target.knock(shape, authorization=f"Bearer {token}", channel=channel)
                assert (ended.code.name, ended.messages, ended.details) == (
                    "UNAUTHENTICATED",
                    [],
                    "the token is not accepted",
                )
                assert reason_of(ended.trailers).reason == told
                record = await self.target.record_of(ended)
                assert (record["reason"], record["subject"], record["proofs"]) == (recorded, "", [])
                assert record["workload"] in {SOUND_ID, f"spiffe://{TRUST_DOMAIN}/client/owner"}
                assert token not in str(record)
        assert self.target.begun == begun


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theft(target: Target) -> AsyncIterator[Theft]:
    yield Theft(target)


async def test_the_owner_of_a_bound_token_is_served(theft: Theft) -> None:
    async with theft.target.bare_channel(theft.owner) as channel:
        for shape in KINDS:
            told = await theft.target.ask(shape, authorization=f"Bearer {theft.token}", channel=channel)
            assert told.code.name == "OK"


async def test_a_stolen_token_is_worth_nothing_from_another_client(theft: Theft) -> None:
    await theft.refuse(theft.target.leaf(), theft.token, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE")


async def test_a_stolen_token_is_worth_nothing_while_its_owner_is_known(theft: Theft) -> None:
    """What is remembered of the owner must not be found by the thief."""
    async with theft.target.bare_channel(theft.owner) as channel:
        assert (
            await theft.target.ask("Unary", authorization=f"Bearer {theft.token}", channel=channel)
        ).code.name == "OK"
        await theft.refuse(theft.target.leaf(), theft.token, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE")
        assert (
            await theft.target.ask("Unary", authorization=f"Bearer {theft.token}", channel=channel)
        ).code.name == "OK"


async def test_a_stolen_token_is_worth_nothing_with_a_new_certificate_of_the_owners_name(theft: Theft) -> None:
    again = theft.target.service.issue(Request("owner", uris=[f"spiffe://{TRUST_DOMAIN}/client/owner"]))
    await theft.refuse(again, theft.token, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE")


CONFIRMATIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "the thumbprint in upper case": (lambda mine: {"x5t#S256": mine.swapcase()}, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE"),
    "the thumbprint with padding": (lambda mine: {"x5t#S256": mine + "="}, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE"),
    "the thumbprint cut": (lambda mine: {"x5t#S256": mine[:-1]}, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE"),
    "the thumbprint in a list": (lambda mine: {"x5t#S256": [mine]}, "TOKEN_MALFORMED"),
    "the thumbprint of SHA-1": (lambda mine: {"x5t": mine}, "TOKEN_MALFORMED"),
    "the thumbprint by itself": (lambda mine: mine, "TOKEN_MALFORMED"),
    "a key of another kind": (lambda _: {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, "TOKEN_MALFORMED"),
    "an empty thumbprint": (lambda _: {"x5t#S256": ""}, "TOKEN_MALFORMED"),
    "an empty confirmation": (lambda _: {}, "TOKEN_MALFORMED"),
    "no map": (lambda _: [], "TOKEN_MALFORMED"),
    "false": (lambda _: False, "TOKEN_MALFORMED"),
}


@pytest.mark.parametrize(("forge", "recorded"), CONFIRMATIONS.values(), ids=CONFIRMATIONS)
async def test_a_confirmation_that_is_not_the_thumbprint_itself_makes_the_token_nobodys(
    theft: Theft, forge: Callable[[str], Any], recorded: str
) -> None:
    leaf = theft.target.leaf()
    told = "TOKEN_MALFORMED" if recorded == "TOKEN_MALFORMED" else "TOKEN_INVALID"
    await theft.refuse(leaf, theft.bound_to(forge(thumbprint(leaf))), recorded, told=told)


async def test_a_token_that_is_not_bound_is_refused_where_each_must_be(
    application: Application, tmp_path: Path
) -> None:
    settings = {"authentication": {"issuers": [{"certificate_bound": True}]}}
    async with run_target(application, tmp_path, settings) as target:
        theft = Theft(target)
        await theft.refuse(theft.owner, target.token(), "TOKEN_NOT_BOUND")
        await theft.refuse(target.leaf(), theft.token, "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE")
        async with target.bare_channel(theft.owner) as channel:
            told = await target.ask("Unary", authorization=f"Bearer {theft.token}", channel=channel)
            assert told.code.name == "OK"


async def test_a_token_of_a_partners_issuer_is_not_taken_of_our_own_workloads(
    application: Application, tmp_path: Path
) -> None:
    settings = {"authentication": {"issuers": [{"trust_domain": "partner.example"}]}}
    async with run_target(application, tmp_path, settings) as target:
        sound = named(SOUND_ID)(target.service.authority)
        await Theft(target).refuse(sound, target.token(), "TOKEN_FROM_FOREIGN_TRUST_DOMAIN")
