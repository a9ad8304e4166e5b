"""A call with an idempotency key runs once, on whatever replica, and after whatever became of the attempt before."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from secure_rpc.client import new_idempotency_key
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.stores import real_store
from support.target import Target, reason_of, run_target
from support.world import Ending

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    overrides = {"replay": {"max_outcome_bytes": 1000}}
    async with run_target(application, tmp_path_factory.mktemp("idempotent"), overrides) as running:
        yield running


def stamped(key: str, **more: str) -> list[tuple[str, str | bytes]]:
    return [("idempotency-key", key), ("request-time", f"{time.time() + 0.01:.6f}"), *more.items()]


async def ask(target: Target, key: str, act: str = "anything", caller: str = "alice", name: str = "") -> Ending:
    async with target.bare_channel() as channel:
        return await target.ask(
            "Protected",
            pb.Ask(act=act, name=name),
            channel=channel,
            metadata=stamped(key),
            authorization=f"Bearer {target.token(caller)}",
        )


def reason(told: Ending) -> str:
    return f"{told.code.name} {reason_of(told.trailers).reason}"


def new_key() -> str:
    return secrets.token_urlsafe(16)


async def test_a_call_that_is_made_again_is_answered_as_it_was_and_not_run(target: Target) -> None:
    key, begun = new_key(), target.begun
    first, second = await ask(target, key), await ask(target, key)
    assert first.code.name == second.code.name == "OK"
    assert first.messages == second.messages
    assert ("idempotent-replay" in first.trailers, second.trailers["idempotent-replay"]) == (False, "true")
    assert target.begun == begun + 1
    assert target.service.metric("secure_rpc_idempotent_answers_total") >= 1


async def test_a_refusal_of_the_handlers_is_told_again_with_all_that_it_said(target: Target) -> None:
    key, begun = new_key(), target.begun
    first, second = [await ask(target, key, "raise_a_status") for _ in range(2)]
    assert reason(first) == reason(second) == "NOT_FOUND ORDER_MISSING"
    assert second.trailers["idempotent-replay"] == "true"
    assert target.begun == begun + 1
    assert (await target.record_of(second))["reason"] == "ANSWERED_AGAIN"


async def test_a_key_is_for_one_request_of_one_caller_and_one_method(target: Target) -> None:
    key = new_key()
    assert (await ask(target, key)).code.name == "OK"
    assert reason(await ask(target, key, "something else")) == "INVALID_ARGUMENT IDEMPOTENCY_KEY_REUSED"
    assert (await ask(target, key, "something else", caller="bob")).code.name == "OK"


async def test_of_fifty_equal_calls_at_once_one_is_run(target: Target) -> None:
    metadata, begun = stamped(new_key()), target.begun
    async with target.bare_channel() as channel:
        told = await asyncio.gather(*(target.ask("Protected", channel=channel, metadata=metadata) for _ in range(50)))
    reasons = Counter("" if each.code.name == "OK" else reason(each) for each in told)
    assert set(reasons) <= {"", "ABORTED IDEMPOTENCY_IN_PROGRESS"}
    assert reasons[""] >= 1
    assert target.begun == begun + 1


async def test_what_was_refused_before_it_was_run_may_be_made_again(target: Target) -> None:
    key, begun = new_key(), target.begun
    assert reason(await ask(target, key, name="x" * 65)) == "INVALID_ARGUMENT REQUEST_INVALID"
    assert (await ask(target, key)).code.name == "OK"
    assert target.begun == begun + 1


async def test_nobody_runs_again_what_may_have_been_done(target: Target) -> None:
    key, begun = new_key(), target.begun
    assert (await ask(target, key, "raise_an_error")).code.name == "INTERNAL"
    assert reason(await ask(target, key, "raise_an_error")) == "FAILED_PRECONDITION IDEMPOTENCY_OUTCOME_UNKNOWN"
    assert target.begun == begun + 1


async def test_an_answer_too_large_to_be_kept_is_refused_when_it_is_asked_for_again(target: Target) -> None:
    key, begun = new_key(), target.begun
    assert (await ask(target, key, "y" * 1500)).code.name == "OK"
    assert reason(await ask(target, key, "y" * 1500)) == "ALREADY_EXISTS IDEMPOTENCY_KEY_USED"
    assert target.begun == begun + 1


@pytest.mark.parametrize("key", ["short", "k" * 129, "with a blank 0123456789", "k" * 15 + "/"])
async def test_a_key_of_another_form_is_refused(target: Target, key: str) -> None:
    assert reason(await ask(target, key)) == "INVALID_ARGUMENT IDEMPOTENCY_KEY_MALFORMED"


async def test_a_key_without_a_time_or_with_an_old_one_is_refused(target: Target) -> None:
    async with target.bare_channel() as channel:
        for metadata, expected in (
            ([("idempotency-key", new_key())], "INVALID_ARGUMENT REPLAY_PROOF_MISSING"),
            (
                [("idempotency-key", new_key()), ("request-time", f"{time.time() - 400:.3f}")],
                "FAILED_PRECONDITION REPLAY_PROOF_STALE",
            ),
        ):
            assert reason(await target.ask("Protected", channel=channel, metadata=metadata)) == expected


async def test_the_channel_of_ours_sends_the_time_with_the_key(target: Target) -> None:
    begun, entry = target.begun, new_idempotency_key()
    for _ in range(3):
        assert (await target.ask("Protected", metadata=[entry])).code.name == "OK"
    assert target.begun == begun + 1


async def test_by_the_setting_a_second_call_is_refused(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, {"replay": {"idempotency": "refuse"}}) as target:
        key = new_key()
        assert (await ask(target, key)).code.name == "OK"
        assert reason(await ask(target, key)) == "ALREADY_EXISTS IDEMPOTENCY_KEY_USED"


@pytest.mark.parametrize("kept", ["file", "store"])
async def test_another_replica_answers_and_so_does_the_service_after_a_restart(
    application: Application, tmp_path: Path, kept: str
) -> None:
    async with AsyncExitStack() as stack:
        overrides: dict[str, Any] = {"replay": {"file": tmp_path / "calls.db"}}
        if kept == "store":
            overrides = {"state": {"redis_url": (await stack.enter_async_context(real_store(tmp_path / "store"))).url}}
        key, folders = new_key(), [tmp_path / name for name in ("one", "other", "later")]
        for folder in folders:
            folder.mkdir()
        async with (
            run_target(application, folders[0], overrides) as one,
            run_target(application, folders[1], overrides) as other,
        ):
            assert (await ask(one, key)).code.name == "OK"
            assert (await ask(other, key)).trailers["idempotent-replay"] == "true"
            assert other.begun == 0
        async with run_target(application, folders[2], overrides) as later:
            assert (await ask(later, key)).trailers["idempotent-replay"] == "true"
            assert later.begun == 0
