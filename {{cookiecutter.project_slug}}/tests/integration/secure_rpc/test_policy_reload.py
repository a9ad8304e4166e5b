"""The policy changes while calls go on: what is decided, what becomes of streams, what a bad file does."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application
from secure_rpc.policy.keeper import PolicyKeeper

from probe.v1 import probe_pb2 as pb
from support.target import ISSUER, POLICY, Target, reason_of, run_target
from support.world import ending

C = grpc.StatusCode
NOBODY = POLICY.replace("group: callers", "group: others")
OTHER_TENANTS = POLICY.replace("tenants: own", "tenants: [globex]")


def write(folder: Path, text: str) -> None:
    """Put another policy in place, as a whole."""
    (folder / "new.yaml").write_text(text, encoding="utf-8")
    (folder / "new.yaml").replace(folder / "policy.yaml")


def keeper(target: Target) -> PolicyKeeper:
    return target.service.server.platform.policy


def reloads(target: Target, result: str) -> float:
    return target.service.metric("secure_rpc_policy_reloads_total", result=result)


async def test_a_changed_file_is_taken_up_by_itself_and_the_log_says_who_gains_and_loses(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = keeper(target).version
    assert (await target.ask("Unary")).code is C.OK
    await asyncio.sleep(0.1)  # for the watch to begin
    write(tmp_path, NOBODY)
    async with asyncio.timeout(10):
        while keeper(target).version == before:  # noqa: ASYNC110  # there is nothing to await but the change itself
            await asyncio.sleep(0.02)
    told = await target.ask("Unary")
    assert (told.code, reason_of(told.trailers).reason) == (C.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert (await target.record_of(told))["policy"] == keeper(target).version
    assert "group callers of https://issuer.example.org loses probe.call for their own tenants" in caplog.text
    assert "group others of https://issuer.example.org gains probe.call for their own tenants" in caplog.text
    assert reloads(target, "ok") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "policy.yaml:1"),
        ("version: 1\nroles: {a: {permissions: [probe.cal]}}", 'did you mean "probe.call"?'),
        (POLICY.replace("role: caller", "role: caler"), 'did you mean "caller"?'),
        (POLICY.replace("[probe.call]", "[probe.call], quotas: {defalt: {calls: 1}}"), 'did you mean "default"?'),
        (POLICY + "    condition: request.nothing == 1\n", "undefined field 'nothing'"),
        (POLICY.replace("issuer.example.org", "issuer.exampel.org"), 'did you mean "https://issuer.example.org"?'),
        (POLICY[: len(POLICY) // 2], "policy.yaml"),
        ("\0", "policy.yaml"),
    ],
)
async def test_a_bad_file_leaves_the_policy_before_it_and_is_told(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    before = keeper(target).version
    write(tmp_path, text)
    await keeper(target).reload()
    assert (keeper(target).version, reloads(target, "ok")) == (before, 0)
    assert reloads(target, "refused") >= 1  # the watch may have looked, too
    assert f"the policy is left as it was ({before})" in caplog.text
    assert said in caplog.text
    assert (await target.ask("Unary")).code is C.OK
    write(tmp_path, NOBODY)
    await keeper(target).reload()
    assert (await target.ask("Unary")).code is C.PERMISSION_DENIED


async def test_of_two_reloads_at_once_the_one_that_read_last_decides(target: Target, tmp_path: Path) -> None:
    """The first has much to read and would end after the second: with what stood in the file before."""
    other = f"  - {{role: caller, principals: [{{issuer: '{ISSUER}', subject: s%d}}], tenants: own}}\n"
    write(tmp_path, POLICY + "".join(other % number for number in range(4000)))
    first = asyncio.create_task(keeper(target).reload())
    await asyncio.sleep(0)  # it has read, and waits for its policy to be checked
    write(tmp_path, NOBODY)
    await asyncio.gather(first, keeper(target).reload())
    assert reloads(target, "refused") == 0
    assert keeper(target).version == hashlib.sha256(NOBODY.encode()).hexdigest()[:12]
    assert (await target.ask("Unary")).code is C.PERMISSION_DENIED


@pytest.mark.parametrize("text", [NOBODY, OTHER_TENANTS])
async def test_a_stream_that_would_not_be_allowed_any_more_is_ended(target: Target, tmp_path: Path, text: str) -> None:
    call = target.call("TenantBidi", open_=True)
    await call.write(pb.Ask(act="data", tenant="acme"))
    assert (await call.read()).text == "data"
    write(tmp_path, text)
    await keeper(target).reload()
    told = await ending(call)
    assert told.code is C.PERMISSION_DENIED
    assert reason_of(told.trailers).reason == ("PERMISSION_MISSING" if text is NOBODY else "TENANT_DENIED")
    record = await target.record_of(told)
    assert (record["code"], record["policy"]) == ("PERMISSION_DENIED", keeper(target).version)


async def test_a_stream_that_is_still_allowed_goes_on_and_learns_nothing(target: Target, tmp_path: Path) -> None:
    call = target.call("TenantBidi", open_=True)
    await call.write(pb.Ask(act="data", tenant="acme"))
    assert (await call.read()).text == "data"
    write(tmp_path, POLICY.replace("tenants: own", "tenants: all"))
    await keeper(target).reload()
    await call.write(pb.Ask(act="more", tenant="initech"))  # by the new policy
    assert (await call.read()).text == "more"
    await call.done_writing()
    assert (await ending(call)).code is C.OK


async def test_a_stream_ends_when_its_binding_does(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, policy=POLICY) as target:
        clock = [1_000_000_000.0]
        call = target.call("Bidi", open_=True)
        await call.write(pb.Ask(act="data"))
        assert (await call.read()).text == "data"
        write(tmp_path, POLICY + "    expires: 2030-01-01T00:00:00Z\n")
        await keeper(target).reload()
        engine: Any = keeper(target)._active.engine
        engine._clock = lambda: clock[0]
        await target.service.server.platform.live.review()
        await call.write(pb.Ask(act="more"))
        assert (await call.read()).text == "more"
        clock[0] = 1_893_456_000.0  # 2030 has begun
        await target.service.server.platform.live.review()
        assert (await ending(call)).code is C.PERMISSION_DENIED


async def test_no_decision_mixes_two_versions(target: Target, tmp_path: Path) -> None:
    """Calls go on while the policy changes back and forth; each record's rule is one of its version."""
    texts = [POLICY + f"    name: {name}\n" for name in ("first", "second")]
    versions = {hashlib.sha256(text.encode()).hexdigest()[:12]: text.rpartition("name: ")[2].strip() for text in texts}
    write(tmp_path, texts[0])
    await keeper(target).reload()
    done = asyncio.Event()

    async def call_on() -> None:
        while not done.is_set():
            assert (await target.ask("TenantUnary", pb.Ask(act="data", tenant="acme"))).code is C.OK

    async with asyncio.TaskGroup() as callers:
        for _ in range(4):
            callers.create_task(call_on())
        for text in (texts * 2)[1:]:
            write(tmp_path, text)
            await keeper(target).reload()
        done.set()
    records = await target.service.audit_records()
    assert {record["policy"]: record["rule"] for record in records} == versions
    assert {(record["policy"], record["rule"]) for record in records} == set(versions.items())


CONDITION = POLICY + "    condition: request.act != 'forbidden'\n"


@pytest.mark.parametrize("shape", ["TenantUnary", "TenantBidi"])
async def test_a_condition_on_the_request_is_held_against_each_message(
    application: Application, tmp_path: Path, shape: str
) -> None:
    async with run_target(application, tmp_path, policy=CONDITION) as target:
        begun = target.begun
        fine, forbidden = (pb.Ask(act=act, tenant="acme") for act in ("data", "forbidden"))
        assert (await target.ask(shape, fine)).messages == ["data"]
        told = await target.ask(shape, forbidden)
        assert (told.messages, told.code) == ([], C.PERMISSION_DENIED)
        assert (await target.record_of(told))["rule"] == "the condition of bindings[0] caller does not hold"
        assert target.begun == begun + 1


async def test_a_new_condition_is_held_against_what_a_stream_said_last(target: Target, tmp_path: Path) -> None:
    call = target.call("TenantBidi", open_=True)
    await call.write(pb.Ask(act="forbidden", tenant="acme"))
    assert (await call.read()).text == "forbidden"
    write(tmp_path, CONDITION)
    await keeper(target).reload()
    assert (await ending(call)).code is C.PERMISSION_DENIED


# --- quotas ------------------------------------------------------------------------------------------------------


async def test_a_quota_in_a_role_counts_from_the_next_call_on_and_the_settings_again_when_it_is_gone(
    target: Target, tmp_path: Path
) -> None:
    async def allowed(count: int) -> int:
        return [(await target.ask("Unary")).code for _ in range(count)].count(C.OK)

    assert await allowed(5) == 5
    quotas = "quotas: { default: { calls: 3, period_seconds: 1000000 } }"
    write(tmp_path, POLICY.replace("permissions: [probe.call]", f"permissions: [probe.call], {quotas}"))
    await keeper(target).reload()
    assert await allowed(5) == 3
    told = await target.ask("Unary")
    assert told.trailers["ratelimit-policy"] == '"default";q=3;w=1000000'
    write(tmp_path, POLICY)
    await keeper(target).reload()
    assert await allowed(5) >= 4  # what is used up comes back at the new rate
