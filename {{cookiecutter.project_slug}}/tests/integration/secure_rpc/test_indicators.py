"""Each number that an objective is measured by moves by exactly what has happened on a live service."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509

from secure_rpc.dev.authority import Request, server_request
from secure_rpc.platform import Application
from secure_rpc.stages.authentication import TIMED_CALLS
from secure_rpc.stages.replay import NONCE_KEY, TIME_KEY

from probe.v1 import probe_pb2 as pb
from support import http2
from support.clocks import until
from support.processes import Served, serve_process
from support.target import ISSUER, POLICY, TRUST_DOMAIN, Target
from support.watched import Watched
from support.world import ending

C = grpc.StatusCode
SERVICE = "probe.v1.ProbeService"


async def test_tokens_that_are_not_believed_count_by_issuer_and_reason(target: Target) -> None:
    watched = Watched(target)
    sound = f"Bearer {target.token()}"
    for _ in range(3):  # once: then it is remembered
        assert (await target.ask("Unary", authorization=sound)).code is C.OK
    for authorization in ("Bearer a.b.c", "Bearer opaque", f"Bearer {target.service.token_of('alice', aud='others')}"):
        assert (await target.ask("Unary", authorization=authorization)).code is C.UNAUTHENTICATED
    forged = target.service.token_of("alice", iss="https://hostile.example.org")
    assert (await target.ask("Unary", authorization=f"Bearer {forged}")).code is C.UNAUTHENTICATED
    assert watched.moved("secure_rpc_token_validation") == {
        f"secure_rpc_token_validations_total['{ISSUER}']": 2,
        "secure_rpc_token_validations_total['unknown']": 3,
        f"secure_rpc_token_validation_failures_total['TOKEN_AUDIENCE_WRONG', '{ISSUER}']": 1,
        "secure_rpc_token_validation_failures_total['TOKEN_MALFORMED', 'unknown']": 2,
        "secure_rpc_token_validation_failures_total['TOKEN_ISSUER_UNKNOWN', 'unknown']": 1,
    }


async def test_refused_calls_count_by_method_status_and_reason(target: Target) -> None:
    watched = Watched(target)
    for _ in range(3):
        await target.ask("Unary", authorization=f"Bearer {target.token('mallory')}")
    await target.ask("ServerStream", authorization="")
    assert watched.moved("secure_rpc_refusals") == {
        f"secure_rpc_refusals_total['PERMISSION_DENIED', 'PERMISSION_MISSING', '{SERVICE}/Unary']": 3,
        f"secure_rpc_refusals_total['TOKEN_MISSING', 'UNAUTHENTICATED', '{SERVICE}/ServerStream']": 1,
    }


async def test_calls_count_when_they_begin_and_when_they_end(target: Target) -> None:
    watched = Watched(target)
    call = target.call("Bidi", open_=True)
    await call.write(pb.Ask(act="anything"))
    await call.read()
    name = f"['{SERVICE}/Bidi']"
    assert watched.moved("grpc_server_call_started_total", "secure_rpc_calls_ended") == {
        f"grpc_server_call_started_total{name}": 1
    }
    await call.done_writing()
    await ending(call)
    await target.next_record()
    assert watched.moved("grpc_server_call", "secure_rpc_calls_ended") == {
        f"grpc_server_call_duration_seconds_count['OK', '{SERVICE}/Bidi']": 1,
        "secure_rpc_calls_ended_total[]": 1,
    }


async def test_it_is_timed_how_long_new_callers_take_and_one_in_many_of_those_remembered(target: Target) -> None:
    watched = Watched(target)
    name = "secure_rpc_auth_duration_seconds_count"
    assert await target.is_served()
    await target.ask("Unary", authorization="Bearer a.b.c")  # refused by authentication
    await target.ask("Unary", authorization=f"Bearer {target.token('mallory')}")  # by authorization
    await target.ask("Public")  # asks nobody who he is
    assert watched.moved(name) == {f"{name}['new']": 3}
    authorization = f"Bearer {target.token()}"
    for _ in range(TIMED_CALLS + 1):
        await target.ask("Unary", authorization=authorization)
    assert watched.moved(name) == {f"{name}['new']": 1, f"{name}['remembered']": 1}


async def test_streams_that_are_ended_since_their_caller_may_not_go_on_count(target: Target, tmp_path: Path) -> None:
    watched = Watched(target)
    streams = [target.call("Bidi", open_=True) for _ in range(3)]
    for stream in streams:
        await stream.write(pb.Ask(act="anything"))
        await stream.read()
    assert (await target.knock("Bidi", authorization="")).code is C.UNAUTHENTICATED  # never began
    assert (await target.ask("Bidi", authorization=f"Bearer {target.token('mallory')}")).code is C.PERMISSION_DENIED
    assert (await target.ask("Bidi", pb.Ask(act="abort"))).code is not C.OK  # the handler's own
    assert watched.moved("secure_rpc_streams_ended_by_auth") == {}
    (tmp_path / "policy.yaml").write_text(POLICY.replace("group: callers", "group: others"), encoding="utf-8")
    await target.service.server.platform.policy.reload()
    assert Counter([(await ending(stream)).code for stream in streams]) == {C.PERMISSION_DENIED: 3}
    assert watched.moved("secure_rpc_streams_ended_by_auth") == {
        f"secure_rpc_streams_ended_by_auth_total['{SERVICE}/Bidi']": 3
    }


async def test_replayed_calls_count(target: Target) -> None:
    watched = Watched(target)
    proof = [(NONCE_KEY, secrets.token_urlsafe(16)), (TIME_KEY, f"{time.time():.3f}")]
    async with target.bare_channel() as channel:
        for _ in range(3):
            await target.ask("Protected", channel=channel, metadata=proof)
    assert watched.moved("secure_rpc_replays") == {"secure_rpc_replays_detected_total[]": 2}


async def test_every_call_that_ended_has_its_record_whatever_became_of_it(target: Target) -> None:
    watched = Watched(target)
    await target.ask("Unary")
    await target.ask("Unary", authorization="")
    await target.ask("Unary", pb.Ask(act="raise_an_error"))
    await target.knock("Bidi", authorization="")
    unknown: Any = target.channel.unary_unary("/no.such.Service/Method")
    await ending(unknown(b"", timeout=10))
    await target.service.audit_records()
    assert watched.moved("secure_rpc_calls_ended", "secure_rpc_audit_records") == {
        "secure_rpc_calls_ended_total[]": 5,
        "secure_rpc_audit_records_total[]": 5,
    }


async def test_the_end_of_the_servers_certificate_is_told_and_moves_with_its_renewal(target: Target) -> None:
    files, authority = target.service.files, target.service.authority
    name = "secure_rpc_certificate_not_after_timestamp_seconds"

    def end_of_file() -> float:
        certificate = x509.load_pem_x509_certificate((files.folder / "server.pem").read_bytes())
        return certificate.not_valid_after_utc.timestamp()

    before = end_of_file()
    assert target.service.metric(name, certificate="server") == before
    watched = Watched(target)
    renewed = replace(server_request("probe", TRUST_DOMAIN), lifetime=timedelta(hours=5))
    authority.issue(renewed).write(files.folder / "server.pem", files.folder / "server.key")
    assert await target.service.server.platform.certificates.reload()
    moved = watched.moved(name)
    assert moved[f"{name}['server']"] == end_of_file() - before < 0
    assert await target.is_served()


async def test_a_policy_that_cannot_be_rolled_out_counts(target: Target, tmp_path: Path) -> None:
    watched = Watched(target)
    (tmp_path / "policy.yaml").write_text("version: 1\nroles: {a: {permissions: [probe.cal]}}", encoding="utf-8")
    await target.service.server.platform.policy.reload()
    assert watched.moved("secure_rpc_policy_reloads", "secure_rpc_policy_rollbacks") == {
        "secure_rpc_policy_reloads_total['refused']": 1
    }


async def test_certificates_that_the_handshake_lets_in_and_the_call_does_not_count(target: Target) -> None:
    watched = Watched(target)
    nobody = target.service.issue(Request("nobody"))
    async with target.bare_channel(nobody) as channel:
        assert (await target.ask("Unary", channel=channel)).code is C.UNAUTHENTICATED
        assert (await target.ask("Unary", channel=channel, authorization="")).code is C.UNAUTHENTICATED
    assert watched.moved("secure_rpc_mtls_failures") == {"secure_rpc_mtls_failures_total['SPIFFE_ID_NOT_ONE']": 2}


async def numbers(served: Served) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
        lines = (await admin.get("/metrics")).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "_total" in name}


async def test_failed_handshakes_count_and_those_for_want_of_a_certificate_as_failures_of_mutual_tls(
    application: Application, tmp_path: Path
) -> None:
    async with serve_process(application, tmp_path) as served:
        port = int((await served.process.address()).rpartition(":")[2])
        before = await numbers(served)
        without = ssl.create_default_context(cafile=str(served.files.ca_certificate))

        async def knock(context: ssl.SSLContext | None) -> None:
            with suppress(OSError):
                async with http2.connect(port, context) as connection:
                    await connection.receive()

        await asyncio.gather(*(knock(context) for context in (without, without, without, None, None)))
        failures = "grpc_server_tls_handshake_failures_total"
        expected = {
            "grpc_server_tls_handshakes_started_total": 5,
            f'{failures}{{reason="no_certificate"}}': 3,
            f'{failures}{{reason="not_tls"}}': 2,
            'secure_rpc_mtls_failures_total{reason="no_certificate"}': 3,
        }
        found: dict[str, float] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(5):  # for the thread that reads to come to the last line
                while found != expected:
                    now = await numbers(served)
                    found = {
                        name: now[name] - before.get(name, 0)
                        for name in now
                        if ("_failures_total{reason" in name or "_started_total" in name)
                        and now[name] != before.get(name, 0)
                    }
        assert found == expected


async def test_hostile_callers_add_no_series(target: Target) -> None:
    """Whatever they call themselves, their issuers and what they call: the second thousand looks like the first."""

    async def attack(number: int) -> None:
        token = target.service.token_of("alice", iss=f"https://{number}.example.org", sub=f"s{number}", kid=f"{number}")
        unknown: Any = target.channel.unary_unary(f"/hostile{number}.v1.Service/Method{number}")
        await ending(unknown(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=10))
        await target.ask("Unary", authorization=f"Bearer {token}")
        await target.ask("Unary", authorization=f"Basic {number}")
        await target.ask("Unary", metadata=[(f"x-{number}", str(number))])

    def series() -> set[str]:
        return {line.split(" ")[0] for line in target.service.server.platform.metrics.render().decode().splitlines()}

    await attack(0)
    first = series()
    for number in range(1, 30):
        await attack(number)
    await until(lambda: target.service.server.chain.under_way == 0)
    assert series() == first


@pytest.mark.parametrize("path", ["grpc_server_call_started_total", "secure_rpc_replays_detected_total"])
async def test_what_has_not_happened_is_zero_so_that_the_first_time_shows(target: Target, path: str) -> None:
    text = target.service.server.platform.metrics.render().decode()
    assert [line for line in text.splitlines() if line.startswith(path) and line.endswith(" 0.0")]
