"""Numbers beside those of the objectives: each moves by exactly what has happened on a live service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from starlette.responses import Response

from secure_rpc.dev.authority import Authority
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity.api_key import new_key, save
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.collector import run_collector
from support.hostile_tokens import parts_of
from support.https import HttpsServer, https_server, json_of
from support.processes import Served, serve_process
from support.signing import new_key as new_signing_key
from support.signing import public_pem, write_keys
from support.target import AUDIENCE, ISSUER, POLICY, Target, run_target
from support.watched import Watched

C = grpc.StatusCode
PATIENCE_SECONDS = 20
REMOTE = "https://remote.example.org"
SAMPLED = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path / "issuer", Authority.create("issuer's CA")) as running:
        yield running


def with_issuer(folder: Path, server: HttpsServer, **how: Any) -> dict[str, Any]:
    """Return the settings of a service that believes another issuer, too."""
    own = {"issuer": ISSUER, "jwks_file": folder / "dev" / "jwks.json", "audiences": [AUDIENCE]}
    fetch = {"ca_file": server.ca_file, "timeout_seconds": 20}
    return {"authentication": {"issuers": [own, {"issuer": REMOTE, "audiences": [AUDIENCE], "fetch": fetch, **how}]}}


# --- callers -------------------------------------------------------------------------------------------------------


async def test_callers_that_are_remembered_count_as_hits(application: Application, tmp_path: Path) -> None:
    async with run_target(application, tmp_path, {"authentication": {"remembered_identities": 1}}) as target:
        watched = Watched(target)
        first, second = (f"Bearer {target.token(who)}" for who in ("alice", "bob"))
        for authorization in (first, first, first, second):
            assert (await target.ask("Unary", authorization=authorization)).code is C.OK
        assert watched.moved("secure_rpc_identity_cache_uses") == {
            "secure_rpc_identity_cache_uses['hit']": 2,
            "secure_rpc_identity_cache_uses['miss']": 2,
            "secure_rpc_identity_cache_uses['eviction']": 1,
        }


async def test_fetches_of_an_issuers_keys_count_good_or_failed_and_their_age_is_told(
    application: Application, tmp_path: Path, server: HttpsServer
) -> None:
    issuer = TokenIssuer(REMOTE, AUDIENCE)
    server.answer = lambda _: json_of(issuer.jwks())
    keys = {"minimum_interval_seconds": 0.1, "refresh_seconds": 0.1}
    settings = with_issuer(tmp_path, server, jwks_url=f"{server.url}/jwks", keys=keys)
    async with run_target(application, tmp_path, settings) as target:
        token = parts_of(issuer).signed()
        assert (await target.ask("Unary", authorization=f"Bearer {token}")).code is C.PERMISSION_DENIED  # believed
        await until(lambda: len(server.seen) > 3, PATIENCE_SECONDS)
        server.answer = lambda _: Response(status_code=503)

        def fetched(result: str) -> float:
            return target.service.metric("secure_rpc_issuer_key_fetches", issuer=REMOTE, result=result)

        await until(lambda: fetched("failed") > 1, PATIENCE_SECONDS)
        store = target.service.server.platform.tokens.stores[REMOTE]
        assert (fetched("ok"), fetched("failed")) == (store.use.fetches - store.use.failures, store.use.failures)
        assert 3 < fetched("ok") + fetched("failed") <= len(server.seen)
        age = target.service.metric("secure_rpc_issuer_keys_age_seconds", issuer=REMOTE)
        await until(lambda: target.service.metric("secure_rpc_issuer_keys_age_seconds", issuer=REMOTE) > age)


async def test_answers_of_an_issuer_about_tokens_are_timed(
    application: Application, tmp_path: Path, server: HttpsServer
) -> None:
    server.answer = lambda _: json_of({"active": False})
    settings = with_issuer(tmp_path, server, introspection={"url": f"{server.url}/introspect"})
    async with run_target(application, tmp_path, settings) as target:
        watched = Watched(target)
        for token in ("one", "two", "two"):
            assert (await target.ask("Unary", authorization=f"Bearer {token}")).code is C.UNAUTHENTICATED
        assert watched.moved("secure_rpc_introspection") == {"secure_rpc_introspection_duration_seconds_count[]": 2}


async def test_files_of_keys_that_are_taken_up_or_not_count(application: Application, tmp_path: Path) -> None:
    file, signing = tmp_path / "api_keys.yaml", tmp_path / "signing_keys.yaml"
    text, entry = new_key("batch", datetime.now(UTC) + timedelta(days=1), ("acme",), ("jobs",))
    save(file, {text.partition(".")[0]: entry})
    keys = {"alice": {"issuer": ISSUER, "subject": "alice", "public_key": public_pem(new_signing_key())}}
    write_keys(signing, keys)
    settings = {
        "authentication": {"credentials": ["both", "api_key"], "api_keys_file": file},
        "integrity": {"signing_keys_file": signing},
    }
    async with run_target(application, tmp_path, settings) as target:
        watched = Watched(target)
        file.write_text("keys: [", encoding="utf-8")
        signing.write_text("keys: [", encoding="utf-8")
        metric = target.service.metric
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not metric("secure_rpc_api_key_file_failures_total"):  # it is looked at when a key is shown
                await target.ask("Unary", authorization="", metadata=[("x-api-key", f"{text}x")])
        refused = {"file": "signing_keys", "result": "refused"}
        await until(lambda: metric("secure_rpc_integrity_key_reloads_total", **refused), PATIENCE_SECONDS)
        write_keys(signing, keys)
        taken_up = {"file": "signing_keys", "result": "ok"}
        await until(lambda: metric("secure_rpc_integrity_key_reloads_total", **taken_up), PATIENCE_SECONDS)
        assert watched.moved("secure_rpc_api_key_file", "secure_rpc_integrity_key") == {
            "secure_rpc_api_key_file_failures_total[]": 1,
            "secure_rpc_integrity_key_reloads_total['refused', 'signing_keys']": 1,
            "secure_rpc_integrity_key_reloads_total['ok', 'signing_keys']": 1,
        }


async def test_the_next_update_of_a_list_of_revoked_certificates_is_told(
    application: Application, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crl"
    async with run_target(application, tmp_path) as first:  # makes the CA that signs the list
        file.write_bytes(first.service.authority.revocation_list([]))
    for client in first.service.files.folder.glob("client-*"):
        client.rename(tmp_path / client.name)
    listed = x509.load_pem_x509_crl(file.read_bytes())
    assert listed.next_update_utc is not None
    async with run_target(application, tmp_path, {"revocation": {"crl_files": [file]}}) as target:
        told = Watched(target).values("secure_rpc_crl_next_update_timestamp_seconds")
        assert told == [listed.next_update_utc.timestamp()]


# --- the policy ----------------------------------------------------------------------------------------------------


async def test_it_is_told_when_the_policy_was_taken_up(target: Target, tmp_path: Path) -> None:
    before = time.time()
    (tmp_path / "policy.yaml").write_text(POLICY + "# the same\n", encoding="utf-8")
    await target.service.server.platform.policy.reload()
    assert before <= target.service.metric("secure_rpc_policy_loaded_timestamp_seconds") <= time.time()


async def test_conditions_that_cannot_be_evaluated_count(application: Application, tmp_path: Path) -> None:
    policy = POLICY + "    condition: 10 / request.count > 1\n"
    async with run_target(application, tmp_path, policy=policy) as target:
        watched = Watched(target)
        assert (await target.ask("Unary", pb.Ask(act="anything", count=2))).code is C.OK
        assert watched.moved("secure_rpc_policy_condition") == {}
        assert (await target.ask("Unary", pb.Ask(act="anything", count=0))).code is C.PERMISSION_DENIED
        assert watched.moved("secure_rpc_policy_condition") == {"secure_rpc_policy_condition_failures_total[]": 1}


# --- load ----------------------------------------------------------------------------------------------------------


async def test_the_limits_are_told_and_refusals_that_are_held(application: Application, tmp_path: Path) -> None:
    load = {"max_concurrent_calls": 9, "min_concurrent_calls": 1, "max_concurrent_calls_per_peer": 2, "adaptive": False}
    async with run_target(application, tmp_path, {"load": {**load, "refusal_delay_seconds": 10}}) as target:
        limits = ("secure_rpc_load_limit_calls", "secure_rpc_load_fair_limit_calls")
        assert [target.service.metric(name) for name in limits] == [9, 9]
        streams = [target.call("Bidi", open_=True) for _ in range(2)]
        for stream in streams:
            await stream.write(pb.Ask(act="anything"))
            await stream.read()
        held = [target.call("Unary") for _ in range(3)]
        await until(lambda: target.service.metric("secure_rpc_delayed_refusals") == 3)
        for call in (*held, *streams):
            call.cancel()
        await until(lambda: target.service.metric("secure_rpc_delayed_refusals") == 0)


# --- the audit -----------------------------------------------------------------------------------------------------


async def test_it_is_told_how_far_the_audit_is_and_which_files_cannot_be_packed(
    application: Application, tmp_path: Path
) -> None:
    (tmp_path / "audit.log-000001.gz.part").mkdir()  # where the first closed file would be packed
    audit = {"file": tmp_path / "audit.log", "rotate_bytes": 4096, "anchor_seconds": 0.1}
    async with run_target(application, tmp_path, {"audit": audit}) as target:
        while not (tmp_path / "audit.log-000001").exists():
            await target.ask("Unary")
            await target.service.audit_records()
        metric = target.service.metric
        await until(lambda: metric("secure_rpc_audit_archive_failures_total") == 1, PATIENCE_SECONDS)
        log = target.service.server.platform.audit_log
        written = (await target.service.audit_lines())[-1]["seq"]
        await until(lambda: metric("secure_rpc_audit_sequence", chain=log.chain_id) == written, PATIENCE_SECONDS)


# --- traces and processes ------------------------------------------------------------------------------------------


async def test_traces_past_the_rate_count(application: Application, tmp_path: Path) -> None:
    with run_collector() as collector:
        tracing = {"otlp_endpoint": collector.url, "sample_ratio": 0.0, "max_sampled_per_second": 0.001}
        async with run_target(application, tmp_path, {"tracing": tracing}) as target:
            watched = Watched(target)
            for _ in range(4):
                await target.ask("Unary", metadata=[SAMPLED])
                await target.ask("Unary", authorization="")
            assert watched.moved("secure_rpc_traces_not_kept") == {
                "secure_rpc_traces_not_kept_total['caller']": 4,
                "secure_rpc_traces_not_kept_total['failure']": 4,
            }


async def numbers(served: Served) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
        lines = [line for line in (await admin.get("/metrics")).text.splitlines() if line[0] != "#"]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_a_process_says_what_it_is_made_of_and_what_it_uses(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path, {"service": {"deployment_id": "d-7"}}) as served:
        before = after = await numbers(served)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while after["secure_rpc_event_loop_lag_seconds_count"] < 3:
                after = await numbers(served)
    [build] = [name for name in after if name.startswith("secure_rpc_build_info")]
    assert 'deployment_id="d-7"' in build
    assert after[build] == 1
    assert after["process_cpu_seconds_total"] > before["process_cpu_seconds_total"] > 0
    assert after["process_resident_memory_bytes"] > 10_000_000
    assert after["process_open_fds"] > 3
