"""Streams end with their credential, or go on with a new one that their owner shows in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from secure_rpc.identity.deny_list import Revocation, revoke
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.probe import FLOOD
from support.sessions import NO_LEEWAY, PATIENCE_SECONDS, SOON_SECONDS, Stream, expiring_leaf, refresh, said, token
from support.target import ISSUER, POLICY, Target, run_target
from support.world import ending

ENDED = ("UNAUTHENTICATED", "TOKEN_EXPIRED")
NOT_FOUND = ("NOT_FOUND", "SESSION_NOT_FOUND")


@pytest.fixture
async def target(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path, NO_LEEWAY) as running:
        yield running


def refreshes(target: Target, result: str) -> float:
    return target.service.metric("secure_rpc_session_refreshes_total", result=result)


# --- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["ClientStream", "ClientStreamByRead", "Bidi", "BidiByReadWrite"])
async def test_a_stream_ends_with_its_token_and_has_said_when(target: Target, shape: str) -> None:
    stream = await Stream(target, token(target, SOON_SECONDS), shape).begin()
    assert target.service.metric("secure_rpc_sessions_live") == 1
    assert await stream.end() == ENDED
    assert stream.expires_at <= time.time()
    assert target.service.metric("secure_rpc_streams_ended_total", reason="expired") == 1
    assert target.service.metric("secure_rpc_sessions_live") == 0
    assert target.servicer.committed == []


@pytest.mark.parametrize("shape", ["ServerStream", "ServerStreamByWrite"])
@pytest.mark.parametrize("act", ["sleep", "sleep_and_swallow_the_cancellation"])
async def test_a_stream_that_says_nothing_is_announced_and_ended_all_the_same(
    target: Target, shape: str, act: str
) -> None:
    call = target.call(shape, pb.Ask(act=act), authorization=f"Bearer {token(target, SOON_SECONDS)}")
    stream = await Stream(target, call=call).begin()
    assert await stream.end() == ENDED


@pytest.mark.parametrize("shape", ["ServerStream", "ServerStreamByWrite"])
async def test_a_client_that_does_not_read_gets_nothing_after_the_end(target: Target, shape: str) -> None:
    call = target.call(shape, pb.Ask(act=FLOOD), authorization=f"Bearer {token(target, SOON_SECONDS)}")
    stream = await Stream(target, call=call).begin()
    assert len((await call.read()).padding) > 0
    record = await target.next_record()
    assert (record["code"], record["reason"]) == ENDED
    assert time.time() >= stream.expires_at
    assert target.servicer.closed == [shape]
    told = await ending(call)
    assert len(told.messages) < 1000  # what was on its way before: no more than fits into the windows, however busy
    assert said(told) == ENDED


async def test_what_a_handler_sends_first_goes_out_with_what_is_announced(target: Target) -> None:
    call = target.call("ServerStream", pb.Ask(act="set_trailers"))
    announced = dict(await call.initial_metadata())
    assert announced["x-initial"] == "sent"
    assert announced["session-id"]
    assert int(announced["session-expires-at"]) > time.time()
    assert [message.text async for message in call] == ["set_trailers"]
    assert await call.code() is grpc.StatusCode.OK


async def test_what_a_handler_sends_too_late_is_left_out_with_a_warning(
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_target(application, tmp_path, {"sessions": {"announce_after_seconds": 0.01}}) as target:
        call = target.call("Bidi", open_=True)
        assert "session-id" in dict(await call.initial_metadata())
        await call.write(pb.Ask(act="set_trailers"))
        assert (await call.read()).text == "set_trailers"
        assert "sends initial metadata after its session was announced" in caplog.text


async def test_a_stream_of_a_public_method_ends_with_the_certificate(target: Target) -> None:
    async with target.bare_channel(expiring_leaf(target, SOON_SECONDS)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
        announced = dict(await watch.initial_metadata())
        assert "session-id" not in announced
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert await Stream(target, call=watch).end() == ENDED
        assert int(announced["session-expires-at"]) <= time.time()


async def test_no_stream_is_longer_than_the_settings_allow_whatever_is_shown(
    application: Application, tmp_path: Path
) -> None:
    async with run_target(application, tmp_path, {"sessions": {"max_seconds": SOON_SECONDS}}) as target:
        stream = await Stream(target, token(target, 600)).begin()
        assert stream.expires_at <= time.time() + SOON_SECONDS
        answer = await refresh(target, stream.id, token(target, 900))
        assert (said(answer), answer.messages[0].expires_at.seconds) == (("OK", ""), stream.expires_at)
        assert await stream.end() == ENDED
        assert (await target.next_record())["reason"] in {"", "SESSION_TOO_LONG"}


# --- going on ------------------------------------------------------------------------------------------------------


async def test_a_stream_goes_on_with_a_new_token_of_the_same_subject(target: Target) -> None:
    stream = await Stream(target, token(target, SOON_SECONDS)).begin()
    answer = await refresh(target, stream.id, token(target, 2 * SOON_SECONDS))
    assert said(answer) == ("OK", "")
    assert answer.messages[0].expires_at.seconds > stream.expires_at
    await until(lambda: time.time() > stream.expires_at, PATIENCE_SECONDS)
    assert await stream.answers()
    assert await stream.end() == ENDED
    assert refreshes(target, "extended") == 1


async def test_the_same_token_or_a_shorter_one_changes_nothing(target: Target) -> None:
    bearer = token(target, 600)
    stream = await Stream(target, bearer).begin()
    for again in (bearer, token(target, 60)):
        answer = await refresh(target, stream.id, again)
        assert said(answer) == ("OK", "")
        assert answer.messages[0].expires_at.seconds == stream.expires_at
    assert refreshes(target, "unchanged") == 2
    assert await stream.answers()


async def test_nobody_else_extends_a_stream_or_finds_out_that_it_is_there(target: Target) -> None:
    stream = await Stream(target, token(target, 600)).begin()
    other = target.leaf("other")
    answers = [
        await refresh(target, stream.id, token(target, 900, "bob")),
        await refresh(target, stream.id, token(target, 900, "mallory")),
        await refresh(target, "A" * len(stream.id), token(target, 900)),
        await refresh(target, "", token(target, 900)),
        await refresh(target, "no id" * 1000, token(target, 900)),
    ]
    async with target.bare_channel(other) as channel:
        answers.append(await refresh(target, stream.id, token(target, 900), channel))
    assert {said(answer) for answer in answers} == {NOT_FOUND}
    assert len({answer.details for answer in answers}) == 1
    assert refreshes(target, "not_found") == len(answers)
    assert said(await refresh(target, stream.id, token(target, -60))) == ENDED
    assert said(await refresh(target, stream.id, token(target, 900))) == ("OK", "")
    await stream.close()
    assert said(await refresh(target, stream.id, token(target, 900))) == NOT_FOUND


async def test_who_has_lost_the_right_to_the_method_does_not_extend_its_stream(target: Target) -> None:
    stream = await Stream(target, token(target, 600)).begin()
    answer = await refresh(target, stream.id, token(target, 900, groups=[]))
    assert said(answer) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert refreshes(target, "denied") == 1
    assert await stream.answers()


async def test_a_stream_is_judged_by_whom_it_goes_on_with(target: Target) -> None:
    call = target.call("TenantBidi", authorization=f"Bearer {token(target, 600)}", open_=True)
    stream = await Stream(target, call=call).begin()
    await call.write(pb.Ask(act="anything", tenant="acme"))
    assert (await call.read()).text == "anything"
    assert said(await refresh(target, stream.id, token(target, 900, tenant=["globex"]))) == ("OK", "")
    assert await stream.end() == ("PERMISSION_DENIED", "TENANT_DENIED")
    assert target.service.metric("secure_rpc_streams_ended_total", reason="policy") == 1


async def test_after_a_refresh_the_old_token_may_be_revoked_and_the_subject_may_not(target: Target) -> None:
    listed = target.service.server.settings.revocation.deny_list_file
    assert listed is not None
    stream = await Stream(target, token(target, 600, jti="old")).begin()
    other = await Stream(target, token(target, 600, jti="old")).begin()
    assert said(await refresh(target, stream.id, token(target, 900, jti="new"))) == ("OK", "")
    assert revoke(listed, Revocation(token_id="old", issuer=ISSUER))  # noqa: S106  # no secret
    assert await other.end() == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
    assert await stream.answers()
    answer = await refresh(target, stream.id, token(target, 1200, jti="old"))
    assert said(answer) == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
    assert revoke(listed, Revocation(subject="alice", issuer=ISSUER))
    assert await stream.end() == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
    assert target.service.metric("secure_rpc_streams_ended_total", reason="revoked") == 2


async def test_a_stream_goes_on_past_the_end_of_its_connections_certificate_with_another_of_the_same_workload(
    target: Target,
) -> None:
    live = target.service.server.platform.live
    async with target.bare_channel(expiring_leaf(target, SOON_SECONDS)) as channel:
        call = target.call("Bidi", authorization=f"Bearer {token(target, 600)}", channel=channel, open_=True)
        stream = await Stream(target, call=call).begin()
        assert said(await refresh(target, stream.id, token(target, 600))) == ("OK", "")
        await until(lambda: time.time() > stream.expires_at, PATIENCE_SECONDS)
        assert await live.review() == 0
        assert await stream.answers()


async def test_streams_cannot_be_extended_where_that_is_switched_off(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, {"sessions": {"refresh": False}}) as target:
        call = target.call("Bidi", open_=True)
        announced = dict(await call.initial_metadata())
        assert "session-id" not in announced
        assert int(announced["session-expires-at"]) > time.time()
        assert (await refresh(target, "A" * 22, target.token())).code is grpc.StatusCode.UNIMPLEMENTED


# --- judged again, and limited -------------------------------------------------------------------------------------


async def test_a_condition_on_the_time_ends_a_stream_in_time(application: Application, tmp_path: Path) -> None:
    ends = int(time.time()) + SOON_SECONDS
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
    policy = POLICY.rstrip() + f"\n    condition: 'now < timestamp(\"{stamp}\")'\n"
    overrides = {"sessions": {"review_seconds": 0.2}}
    async with run_target(application, tmp_path, overrides, policy=policy) as target:
        stream = await Stream(target, token(target, 600)).begin()
        assert await stream.end() == ("PERMISSION_DENIED", "PERMISSION_MISSING")
        assert time.time() >= ends


@pytest.mark.parametrize("shape", ["ClientStream", "Bidi"])
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"stream_messages_per_second": 0.01, "stream_message_burst": 3}, "STREAM_RATE"),
        ({"stream_messages": 3}, "STREAM_MESSAGES"),
    ],
)
async def test_a_stream_with_too_many_messages_ends(
    application: Application, tmp_path: Path, shape: str, limits: dict[str, float], reason: str
) -> None:
    asks = [pb.Ask(act="anything")] * 4
    async with run_target(application, tmp_path, {"limits": limits}) as target:
        assert said(await target.ask(shape, *asks[:3])) == ("OK", "")
        assert said(await target.ask(shape, *asks)) == ("RESOURCE_EXHAUSTED", reason)
        assert target.servicer.committed in ([], [3])
