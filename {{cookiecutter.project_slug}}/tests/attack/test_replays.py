"""Calls that were captured, and are made again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.platform import Application
from secure_rpc.stages.replay import NONCE_KEY, TIME_KEY

from support.target import Target, reason_of, run_target
from support.world import Ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

WINDOW_SECONDS = 300  # of the settings, which the target leaves as it is


def proof(nonce: str | None = None, off_by_seconds: float = 0) -> list[tuple[str, str | bytes]]:
    """Return what a protected call carries."""
    sent = f"{time.time() + off_by_seconds:.3f}"
    return [(NONCE_KEY, secrets.token_urlsafe(16) if nonce is None else nonce), (TIME_KEY, sent)]


async def ask(target: Target, metadata: list[tuple[str, str | bytes]], caller: str = "alice") -> Ending:
    """Make a protected call on a connection of its own, on which nothing is added to it."""
    async with target.bare_channel() as channel:
        return await target.ask(
            "Protected", channel=channel, metadata=metadata, authorization=f"Bearer {target.token(caller)}"
        )


async def is_refused(target: Target, told: Ending, code: str, reason: str) -> bool:
    """Tell whether a call was refused so, and recorded so."""
    assert (told.code.name, reason_of(told.trailers).reason) == (code, reason)
    record = await target.record_of(told)
    return (record["code"], record["reason"]) == (code, reason)


async def test_a_captured_call_cannot_be_made_again_on_any_connection(target: Target) -> None:
    captured = proof()
    authorization = f"Bearer {target.token()}"
    begun = target.begun
    async with target.bare_channel() as channel:
        options = {"channel": channel, "metadata": captured, "authorization": authorization}
        assert (await target.ask("Protected", **options)).code.name == "OK"
        assert await is_refused(target, await target.ask("Protected", **options), "ALREADY_EXISTS", "REPLAYED")
    for leaf in (target.leaf(), target.leaf("another-workload")):
        async with target.bare_channel(leaf) as channel:
            options["channel"] = channel
            assert await is_refused(target, await target.ask("Protected", **options), "ALREADY_EXISTS", "REPLAYED")
    assert target.begun == begun + 1


async def test_a_captured_call_cannot_be_made_again_with_its_time_brought_up_to_date(target: Target) -> None:
    assert (await ask(target, proof("n" * 16, off_by_seconds=5))).code.name == "OK"
    assert await is_refused(target, await ask(target, proof("n" * 16)), "ALREADY_EXISTS", "REPLAYED")


async def test_of_fifty_equal_calls_at_once_one_is_taken(target: Target) -> None:
    captured, begun = proof(), target.begun
    async with target.bare_channel() as channel:
        told = await asyncio.gather(*(target.ask("Protected", channel=channel, metadata=captured) for _ in range(50)))
    assert Counter(each.code.name for each in told) == {"OK": 1, "ALREADY_EXISTS": 49}
    assert target.begun == begun + 1


async def test_nobody_can_use_up_the_nonces_of_another(target: Target) -> None:
    assert (await ask(target, proof("m" * 16))).code.name == "OK"
    assert (await ask(target, proof("m" * 16), caller="bob")).code.name == "OK"


async def test_a_call_that_is_refused_before_uses_up_no_nonce(target: Target) -> None:
    captured = proof()
    assert (await ask(target, captured, caller="mallory")).code.name == "PERMISSION_DENIED"
    assert (await ask(target, captured)).code.name == "OK"


PROOFS: dict[str, tuple[list[tuple[str, str | bytes]], str]] = {
    "none": ([], "REPLAY_PROOF_MISSING"),
    "no time": (proof()[:1], "REPLAY_PROOF_MISSING"),
    "no nonce": (proof()[1:], "REPLAY_PROOF_MISSING"),
    "an empty nonce": (proof(""), "REPLAY_PROOF_MISSING"),
    "a short nonce": (proof("n" * 15), "REPLAY_PROOF_MISSING"),
    "a long nonce": (proof("n" * 65), "REPLAY_PROOF_MISSING"),
    "a nonce with a space": (proof("alice nnnnnnnnnnnnnnnn"), "REPLAY_PROOF_MISSING"),
    "two nonces": ([*proof(), *proof()[:1]], "METADATA_AMBIGUOUS"),
    "two times": ([*proof(), *proof()[1:]], "METADATA_AMBIGUOUS"),
    **{
        f"the time {text!r}": ([*proof()[:1], (TIME_KEY, text)], "REPLAY_PROOF_MISSING")
        for text in ("", "now", "nan", "inf", "1e9", "-1", "0x10", "9" * 13)
    },
    "a time that ends in a dot": ([*proof()[:1], (TIME_KEY, f"{time.time():.0f}.")], "REPLAY_PROOF_MISSING"),
    "the time 0": ([*proof()[:1], (TIME_KEY, "0")], "REPLAY_PROOF_STALE"),
    "a time too old": (proof(off_by_seconds=-WINDOW_SECONDS - 30), "REPLAY_PROOF_STALE"),
    "a time to come": (proof(off_by_seconds=3 * WINDOW_SECONDS), "REPLAY_PROOF_STALE"),
}
CODES = {
    "REPLAY_PROOF_MISSING": "INVALID_ARGUMENT",
    "METADATA_AMBIGUOUS": "INVALID_ARGUMENT",
    "REPLAY_PROOF_STALE": "FAILED_PRECONDITION",
}


@pytest.mark.parametrize(("metadata", "reason"), PROOFS.values(), ids=PROOFS)
async def test_a_proof_is_refused(target: Target, metadata: list[tuple[str, str | bytes]], reason: str) -> None:
    begun = target.begun
    assert await is_refused(target, await ask(target, metadata), CODES[reason], reason)
    assert target.begun == begun


async def test_nonces_are_not_forgotten_when_there_are_too_many(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, {"replay": {"remembered_nonces": 2}}) as target:
        captured = proof()
        assert (await ask(target, captured)).code.name == "OK"
        assert (await ask(target, proof())).code.name == "OK"
        for _ in range(3):
            assert await is_refused(target, await ask(target, proof()), "UNAVAILABLE", "REPLAY_STORE_UNAVAILABLE")
        assert await is_refused(target, await ask(target, captured), "ALREADY_EXISTS", "REPLAYED")
        assert await target.is_served()
        assert target.begun == 3


async def test_a_client_of_ours_makes_each_call_anew(target: Target) -> None:
    for _ in range(3):
        assert (await target.ask("Protected")).code.name == "OK"


async def test_several_workers_that_would_not_know_of_each_others_calls_are_refused_at_start(
    application: Application, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r'"workers" is 2, but /probe.v1.ProbeService/Protected is replay_pro'):
        async with run_target(application, tmp_path, {"workers": 2, "replay": {"file": None}}):
            pass
