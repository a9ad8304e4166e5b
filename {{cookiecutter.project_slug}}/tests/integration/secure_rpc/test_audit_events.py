"""What is done to a service stands in its audit, in the same chain as the calls, once for each time it was done."""

from __future__ import annotations

import asyncio
import itertools
import signal
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from secure_rpc.audit.trail import lines_of
from secure_rpc.audit.verify import verify
from secure_rpc.identity.deny_list import Revocation, revoke, take_back
from secure_rpc.platform import Application

from support.clocks import until
from support.processes import Served, serve_process
from support.target import TRUST_DOMAIN, Target, run_target

POLICY = """
version: 1
roles:
  caller: {{ permissions: [probe.call] }}
bindings:
- {{ role: caller, principals: [{{ group: {group}, issuer: "https://issuer.example.org" }}] }}
"""
PATIENCE_SECONDS = 20
THIEF = Revocation(spiffe_id=f"spiffe://{TRUST_DOMAIN}/client/thief")


@pytest.fixture
async def target(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    deny_list = tmp_path / "deny.yaml"
    revoke(deny_list, Revocation(spiffe_id=f"spiffe://{TRUST_DOMAIN}/client/nobody"))
    files = {"policy_file": tmp_path / "policy.yaml", "rollout_file": tmp_path / "rollout.yaml"}
    overrides = {"authorization": files, "revocation": {"deny_list_file": deny_list}}
    async with run_target(application, tmp_path, overrides) as running:
        yield running


async def events(target: Target, *named: str) -> list[dict[str, Any]]:
    """Return the events of these names, without the links of the chain and their times."""
    left_out = {"chain", "seq", "prev", "time"}
    return [
        {key: value for key, value in line.items() if key not in left_out}
        for line in await target.service.audit_lines()
        if line["event"] in named
    ]


def once(told: Iterable[Any]) -> list[Any]:
    """Leave out what comes again at once: the service may see a change by itself, too."""
    return [each for each, _ in itertools.groupby(told)]


async def test_each_reload_of_certificates_is_an_event_good_or_refused(target: Target) -> None:
    certificates = target.service.server.platform.certificates
    assert await certificates.reload()
    key = target.service.server.settings.tls.key_file
    sound = key.read_bytes()
    key.write_bytes(b"no key")
    assert not await certificates.reload()
    key.write_bytes(sound)
    serial = f"{certificates.current.chain[0].serial_number:x}"
    told = await events(target, "certificates_reloaded")
    assert once((event["result"], event["serial"]) for event in told) == [("ok", serial), ("refused", serial)]


async def test_what_is_revoked_and_taken_back_is_named(target: Target, tmp_path: Path) -> None:
    lists = target.service.server.platform._trust.revocations
    file = tmp_path / "deny.yaml"
    revoke(file, THIEF)
    assert await lists.reload([file])
    take_back(file, THIEF)
    assert await lists.reload([file])
    file.write_text("revoked: nonsense\n", encoding="utf-8")
    assert not await lists.reload([file])
    named = [{"kind": "spiffe_id", "issuer": "", "name": THIEF.spiffe_id}]
    assert await events(target, "revoked", "revocation_ended") == [
        {"event": "revoked", "source": "deny_list", "count": 1, "named": named},
        {"event": "revocation_ended", "source": "deny_list", "count": 1, "named": named},
    ]
    told = await events(target, "revocations_reloaded")
    assert once((event["result"], event["deny_list"]) for event in told) == [("ok", 2), ("ok", 1), ("refused", 1)]


async def test_a_policy_is_changed_refused_rolled_out_and_promoted(target: Target, tmp_path: Path) -> None:
    """As the service sees it by itself: its files are changed, and it is not told."""
    policy, active = target.service.server.platform.policy, target.service.server.platform.active_policy
    first = policy.version
    put(tmp_path / "policy.yaml", POLICY.format(group="callers"))
    await until(lambda: policy.version != first, PATIENCE_SECONDS)
    second = policy.version
    put(tmp_path / "policy.yaml", "nonsense")
    await until(lambda: target.service.metric("secure_rpc_policy_reloads_total", result="refused"), PATIENCE_SECONDS)
    put(tmp_path / "policy.yaml", POLICY.format(group="callers"))
    put(tmp_path / "candidate.yaml", POLICY.format(group="others"))
    put(tmp_path / "rollout.yaml", "candidate: candidate.yaml\npercent: 10\n")
    await until(lambda: active.shadow is not None, PATIENCE_SECONDS)
    put(tmp_path / "policy.yaml", POLICY.format(group="others"))
    (tmp_path / "rollout.yaml").unlink()
    await until(lambda: policy.version != second and active.shadow is None, PATIENCE_SECONDS)
    third = policy.version
    reloads = [(event["result"], event["policy"]) for event in await events(target, "policy_reloaded")]
    assert once(reloads) == [("ok", second), ("refused", second), ("ok", second), ("ok", third)]
    [changed] = await events(target, "policy_changed")
    assert (changed["policy"], changed["before"]) == (second, first)
    [promoted] = await events(target, "policy_promoted")
    assert (promoted["policy"], promoted["before"]) == (third, second)
    [begun], [ended] = await events(target, "policy_rollout_begun"), await events(target, "policy_rollout_ended")
    assert [begun["candidate"], begun["percent"], ended["candidate"]] == [third, 10.0, third]


def put(file: Path, text: str) -> None:
    beside = file.with_name(file.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


async def test_a_candidate_that_is_rolled_back_is_an_event(target: Target) -> None:
    platform = target.service.server.platform
    folder = target.service.server.settings.authorization.policy_file.parent
    (folder / "candidate.yaml").write_text(POLICY.format(group="nobody"), encoding="utf-8")
    (folder / "rollout.yaml").write_text("candidate: candidate.yaml\npercent: 100\n", encoding="utf-8")
    await platform.policy.reload()
    shadow = platform.active_policy.shadow
    assert shadow is not None
    platform.active_policy._roll_back("a test says so")
    assert await events(target, "policy_rolled_back") == [
        {"event": "policy_rolled_back", "candidate": shadow.candidate.version}
    ]


async def test_start_and_stop_are_recorded_with_what_runs_and_failed_handshakes_as_one_event(
    application: Application, tmp_path: Path
) -> None:
    async with serve_process(application, tmp_path, {"service": {"deployment_id": "d-1"}}) as served:
        host, _, port = (await served.process.address()).rpartition(":")
        stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
        stranger.set_alpn_protocols(["h2"])
        for _ in range(3):
            await shows_no_certificate(host, int(port), stranger)
        serving = await served.process.line("serving")
        await until_counted(served, 3)
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
        log = served.settings.audit.file
        anchors = [line for line in served.process.lines if line["event"] == "audit anchor"]
    assert verify(log).whole
    lines = [line.content for line in lines_of(log)]
    assert [line["event"] for line in lines] == [
        *("chain_started", "service_started", "handshakes_failed", "service_stopped", "chain_stopped")
    ]
    started, failed = lines[1], lines[2]
    assert (started["policy"], started["deployment_id"]) == (serving["policy"], "d-1")
    assert {"platform", "python", "grpcio", "cryptography", "protobuf", "name", "workers"} < set(started)
    assert failed["failed"] == {"no_certificate": 3}
    assert [(anchor["chain"], anchor["seq"]) for anchor in anchors] == [(lines[0]["chain"], 1), (lines[0]["chain"], 5)]


async def shows_no_certificate(host: str, port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1_000_000)
    writer.close()


async def until_counted(served: Served, count: int) -> None:
    said = f'grpc_server_tls_handshake_failures_total{{reason="no_certificate"}} {count}.0'
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin, asyncio.timeout(10):
        while said not in (await admin.get("/metrics")).text:  # noqa: ASYNC110  # another process tells nobody
            await asyncio.sleep(0.05)
