"""Signed calls, and a proxy on the way that alters, swaps, strips, redirects and repeats them, with a trusted name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application
from secure_rpc.stages.integrity import PROOF_KEY
from secure_rpc.testing.service import run_service

from probe.v1 import probe_pb2 as pb
from support.altering_proxy import Alter, Passing, Proxy, unaltered
from support.secrets_kept import Keeper
from support.signed_calls import ALICE, ASK, AUDIENCE, BODY, SERVICE, SIGNED, SignedWorld, run_signed
from support.signing import claims_of, proof_of
from support.target import CALLERS, POLICY, SETTINGS, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_signed_call_passes_a_proxy_that_leaves_it_alone(world: SignedWorld) -> None:
    begun = world.target.begun
    told = await world.call()
    assert (told.code, told.messages) == (grpc.StatusCode.OK, ["pay"])
    assert world.target.begun == begun + 1


def _flip(passing: Passing) -> Passing:
    return replace(passing, body=passing.body.replace(b"10 to bob", b"90 to bob"))


def _strip(passing: Passing) -> Passing:
    return passing.with_header(PROOF_KEY, None)


def _redirect(passing: Passing) -> Passing:
    return replace(passing, path=f"/{SERVICE}/SignedStream")


def _add_a_field(passing: Passing) -> Passing:
    return replace(passing, body=passing.body + pb.Ask(tenant="globex").SerializeToString())


def _empty(passing: Passing) -> Passing:
    return replace(passing, body=b"")


ALTERED: dict[str, tuple[Alter, str, str]] = {
    "the body altered": (_flip, "PROOF_INVALID", "PROOF_BODY_ALTERED"),
    "a field added": (_add_a_field, "PROOF_INVALID", "PROOF_BODY_ALTERED"),
    "the body taken out": (_empty, "PROOF_INVALID", "PROOF_BODY_ALTERED"),
    "the proof stripped": (_strip, "PROOF_MISSING", "PROOF_MISSING"),
    "another method": (_redirect, "PROOF_INVALID", "PROOF_FOR_ANOTHER_METHOD"),
}


@pytest.mark.parametrize(("alter", "reason", "recorded"), ALTERED.values(), ids=ALTERED)
async def test_what_a_proxy_alters_is_refused(world: SignedWorld, alter: Alter, reason: str, recorded: str) -> None:
    begun = world.target.begun
    assert await world.refused(await world.call(alter), "UNAUTHENTICATED", reason, recorded)
    assert world.target.begun == begun


async def test_proofs_that_are_swapped_are_refused(world: SignedWorld) -> None:
    first = await world.capture()
    token = first.header("authorization").removeprefix("Bearer ")
    body = pb.Ask(act="other").SerializeToString()
    second = proof_of(claims_of(SIGNED, AUDIENCE, body, token), ALICE, kid="alice")
    told = await world.proxy.send(first.with_header(PROOF_KEY, second))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_BODY_ALTERED")
    told = await world.proxy.send(replace(first, body=body))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_BODY_ALTERED")


async def test_a_call_that_is_repeated_is_refused(world: SignedWorld) -> None:
    assert (await world.call()).code is grpc.StatusCode.OK
    begun = world.target.begun
    captured = world.proxy.captured[-1]
    assert await world.refused(await world.proxy.send(captured), "ALREADY_EXISTS", "REPLAYED")
    async with world.target.bare_channel(world.target.leaf("another-workload")) as channel:
        told = await Proxy(channel, world.proxy.leaf).send(captured)
        assert await world.refused(told, "ALREADY_EXISTS", "REPLAYED")
    assert world.target.begun == begun


async def test_a_token_that_is_swapped_or_taken_out_is_refused(world: SignedWorld) -> None:
    captured, another = await world.capture(), await world.capture()
    told = await world.proxy.send(captured.with_header("authorization", another.header("authorization")))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_TOKEN_SWAPPED")
    unbound = proof_of(claims_of(SIGNED, AUDIENCE, BODY), ALICE, kid="alice")
    told = await world.proxy.send(captured.with_header(PROOF_KEY, unbound))
    assert await world.refused(told, "UNAUTHENTICATED", "PROOF_INVALID", "PROOF_TOKEN_SWAPPED")


async def test_the_key_of_the_certificate_signs_where_none_is_registered(
    application: Application, tmp_path: Path
) -> None:
    async with run_signed(application, tmp_path) as target:
        for _ in range(2):
            assert (await target.ask("Signed", ASK)).messages == ["pay"]
        assert (await target.ask("Signed", pb.Ask())).code is grpc.StatusCode.OK  # no bytes at all
        told = await target.ask("SignedStream", pb.Ask(act="last", count=2))
        assert told.messages == ["part", "part", "last"]


async def test_the_key_of_the_certificate_can_be_refused(application: Application, tmp_path: Path) -> None:
    async with run_signed(application, tmp_path, {"integrity": {"certificate_keys": False}}) as target:
        told = await target.ask("Signed", ASK)
        assert reason_of(told.trailers).reason == "PROOF_INVALID"
        assert (await target.record_of(told))["reason"] == "PROOF_KEY_NOT_REGISTERED"


async def test_nonces_of_signed_calls_are_not_forgotten(application: Application, tmp_path: Path) -> None:
    async with run_signed(application, tmp_path, {"replay": {"remembered_nonces": 1}}) as target:
        assert (await target.ask("Signed", ASK)).code is grpc.StatusCode.OK
        told = await target.ask("Signed", ASK)
        assert (told.code.name, reason_of(told.trailers).reason) == ("UNAVAILABLE", "REPLAY_STORE_UNAVAILABLE")


async def test_a_call_that_grpc_makes_again_by_itself_is_no_replay(world: SignedWorld) -> None:
    begun, before = world.target.begun, len(world.proxy.captured)
    world.proxy.lost_answers = 2
    assert (await world.call()).code is grpc.StatusCode.OK
    assert world.target.begun == begun + 3
    attempts = world.proxy.captured[before:]
    assert len({attempt.header(PROOF_KEY) for attempt in attempts}) == 3
    assert len({attempt.body for attempt in attempts}) == 1


async def test_credentials_of_a_single_call_go_along(world: SignedWorld) -> None:
    more = grpc.metadata_call_credentials(_More())
    world.proxy.alter = unaltered
    async with world.client() as channel:
        told = await world.target.ask("Signed", ASK, channel=channel, authorization="", credentials=more)
    assert told.code is grpc.StatusCode.OK
    assert world.proxy.captured[-1].header("further") == "entry"


class _More(grpc.AuthMetadataPlugin):
    def __call__(self, _context: object, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback((("further", "entry"),), None)


async def test_several_workers_that_would_not_know_of_each_others_calls_are_refused_at_start(
    application: Application, tmp_path: Path
) -> None:
    for name, text in {"settings.yaml": SETTINGS, "policy.yaml": POLICY, "callers.yaml": CALLERS}.items():
        (tmp_path / name).write_text(text)
    signed_alone = Application(application.build_chain, Keeper().add)
    overrides: dict[str, Any] = {
        "workers": 2,
        "replay": {"file": None},
        "sessions": {"refresh": False},
        "authorization": {"policy_file": tmp_path / "policy.yaml"},
    }
    with pytest.raises(ConfigurationError, match=r'"workers" is 2, but /probe.v1.SecretService/Keep is signed'):
        async with run_service(
            signed_alone, tmp_path, overrides, config=tmp_path / "settings.yaml", callers=tmp_path / "callers.yaml"
        ):
            pass


async def test_calls_of_other_methods_carry_no_proof(world: SignedWorld) -> None:
    world.proxy.alter = unaltered
    async with world.client() as channel:
        told = await world.target.ask("Unary", ASK, channel=channel, authorization="")
    assert told.code is grpc.StatusCode.OK
    assert PROOF_KEY not in dict(world.proxy.captured[-1].metadata)
    assert dict(world.proxy.captured[-1].metadata)["authorization"]
