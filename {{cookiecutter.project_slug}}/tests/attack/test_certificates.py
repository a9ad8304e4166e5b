"""Certificates that TLS lets in, and that are nobody's all the same."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from support.hostile_certificates import LET_IN_BY_TLS, SOUND_ID, Forge, named
from support.target import KINDS, Target, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(("forge", "reason"), LET_IN_BY_TLS.values(), ids=LET_IN_BY_TLS)
async def test_a_certificate_is_refused_by_every_kind_of_method_public_ones_included(
    target: Target, forge: Forge, reason: str
) -> None:
    begun = target.begun
    async with target.bare_channel(forge(target.service.authority)) as channel:
        for shape in (*KINDS, "Public"):
            told = await target.knock(shape, channel=channel)  # with a sound token
            assert (told.code.name, told.messages) == ("UNAUTHENTICATED", [])
            assert reason_of(told.trailers).reason == reason
            assert "example.org" not in str(told)
            record = await target.record_of(told)
            assert (record["code"], record["reason"]) == ("UNAUTHENTICATED", reason)
            assert (record["workload"], record["subject"], record["proofs"]) == ("", "", [])
    assert target.begun == begun


async def test_the_certificate_that_they_are_made_from_is_sound(target: Target) -> None:
    async with target.bare_channel(named(SOUND_ID)(target.service.authority)) as channel:
        for shape in (*KINDS, "Public"):
            assert (await target.ask(shape, channel=channel)).code.name == "OK"


async def test_a_certificate_that_expires_on_an_open_connection_is_refused_from_then_on(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with target.bare_channel() as channel:
        for shape in (*KINDS, "Public"):
            assert (await target.ask(shape, channel=channel)).code.name == "OK"
        later = time.time() + timedelta(days=91).total_seconds()
        monkeypatch.setattr(target.service.server.platform.identities, "_clock", lambda: later)
        for shape in (*KINDS, "Public"):
            told = await target.knock(shape, channel=channel)
            assert reason_of(told.trailers).reason == "CERTIFICATE_EXPIRED"
            assert (await target.record_of(told))["reason"] == "CERTIFICATE_EXPIRED"


async def test_a_token_makes_up_for_no_certificate_and_a_certificate_for_no_token(target: Target) -> None:
    for shape in KINDS:
        told = await target.knock(shape, authorization="")
        assert (told.code.name, reason_of(told.trailers).reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")
        record = await target.record_of(told)
        assert (record["workload"], record["subject"]) == (SOUND_ID, "")
