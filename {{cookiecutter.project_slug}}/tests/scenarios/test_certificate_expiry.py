"""A certificate that nobody has renewed: seen a day before, mended without a restart, and nobody's call is lost.

Who is there: a service whose certificate ends tomorrow, since the job that renews it has failed for weeks; a checkout
that calls it all day; a nightly report whose own certificate has ended, and that nobody has told; somebody on call.
What they want: to learn of it before it is an outage. The new files are dropped in, and that is all.
What may go wrong: the alert comes too late or not; the renewal asks for a restart, or breaks connections; files that do
not belong together are dropped in; whoever comes with a certificate that has ended is let in, or does not learn why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import pytest

from secure_rpc.dev.authority import Authority, Leaf, client_request, server_request
from secure_rpc.observability.objectives import Thresholds
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.clocks import Clock, until
from support.parties import Party, party, refusals
from support.processes import serve_process
from support.sessions import said
from support.target import TRUST_DOMAIN, Target, run_target
from support.world import ending

LEFT = timedelta(hours=20)
PAGE_SECONDS = 3600 * Thresholds().certificate_page_hours  # from where on somebody on call is told
PATIENCE_SECONDS = 20
ASK = pb.Ask(act="anything")
ENDS = "secure_rpc_certificate_not_after_timestamp_seconds"


@pytest.fixture
async def service(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path) as target:
        drop_in(target, of_the_server(target, LEFT))
        await until(lambda: left_seconds(target) <= LEFT.total_seconds(), PATIENCE_SECONDS)
        yield target


def of_the_server(target: Target, lifetime: timedelta) -> Leaf:
    return target.service.issue(replace(server_request("probe", TRUST_DOMAIN), lifetime=lifetime))


def drop_in(target: Target, leaf: Leaf) -> None:
    """Put a certificate of the server in place, as whatever renews it does."""
    tls = target.service.server.settings.tls
    leaf.write(tls.certificate_file, tls.key_file)


def left_seconds(target: Target) -> float:
    """Return how long the server's certificate lasts, as the operator's dashboard has it."""
    return target.service.metric(ENDS, certificate="server") - time.time()


async def is_served(caller: Party) -> bool:
    return (await caller.ask()).code is grpc.StatusCode.OK


async def test_it_is_seen_a_day_before_and_new_files_are_all_that_it_takes(service: Target) -> None:
    assert left_seconds(service) < PAGE_SECONDS
    async with party(service, "checkout", service.token) as checkout:
        stream = checkout.call("Bidi", open_=True)
        await stream.write(ASK)
        assert (await stream.read()).text == ASK.act

        drop_in(service, of_the_server(service, timedelta(days=90)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while left_seconds(service) < PAGE_SECONDS:  # then the alert is over; nobody restarts anything
                assert await is_served(checkout)
        assert await is_served(checkout)
        await stream.write(ASK)
        assert (await stream.read()).text == ASK.act
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
    async with party(service, "late-comer", service.token) as late_comer:
        assert await is_served(late_comer)
    assert {each["code"] for each in await service.service.audit_records()} == {"OK"}


async def test_files_that_do_not_belong_together_change_nothing_and_the_alert_goes_on(service: Target) -> None:
    async with party(service, "checkout", service.token) as checkout:
        other = of_the_server(service, timedelta(days=90))
        service.service.server.settings.tls.key_file.write_bytes(other.key_pem)  # a renewal that wrote half of it
        await until(lambda: reloads(service, "refused"), PATIENCE_SECONDS)
        assert await is_served(checkout)
        assert left_seconds(service) < PAGE_SECONDS
        drop_in(service, other)
        await until(lambda: left_seconds(service) > PAGE_SECONDS, PATIENCE_SECONDS)
    told = [each for each in await service.service.audit_lines() if each["event"] == "certificates_reloaded"]
    assert told[-1]["result"] == "ok"
    assert "refused" in {each["result"] for each in told}


def reloads(target: Target, result: str) -> float:
    return target.service.metric("secure_rpc_certificate_reloads_total", result=result)


async def test_a_caller_whose_certificate_has_ended_is_refused_and_learns_why(
    service: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with party(service, "report", service.token, poll_seconds=0.05) as report:
        assert await is_served(report)
        clock = Clock()
        monkeypatch.setattr(service.service.server.platform.identities, "_clock", clock)
        clock.pass_(timedelta(days=91).total_seconds())  # the connection is open all the while
        told = await report.ask()
        assert said(told) == ("UNAUTHENTICATED", "CERTIFICATE_EXPIRED")
        assert (await service.record_of(told))["reason"] == "CERTIFICATE_EXPIRED"
        assert refusals(service, "CERTIFICATE_EXPIRED") == 1

        request = replace(client_request("report", TRUST_DOMAIN), lifetime=timedelta(days=180))
        service.service.issue(request).write(report.files[0], report.files[1])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_served(report):  # our client takes up new files by itself
                pass


async def test_a_certificate_that_has_ended_opens_no_connection_and_both_sides_are_told(
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a process of its own: what the core of gRPC says about handshakes is read there."""
    async with serve_process(application, tmp_path) as served:
        files = served.files
        begin = datetime.now(UTC) - timedelta(days=2)
        request = replace(client_request("report", TRUST_DOMAIN), not_before=begin, lifetime=timedelta(days=1))
        ended = Authority.load(files.ca_certificate, files.ca_key).issue(request)
        ended.write(files.client_certificate, files.client_key)
        with caplog.at_level(logging.ERROR):
            told = await ending(probe_pb2_grpc.ProbeServiceStub(await served.channel()).Unary(ASK, timeout=10))
        assert told.code is grpc.StatusCode.UNAVAILABLE
        assert "the client's certificate will be refused: the certificate expired" in caplog.text

        failed = 'secure_rpc_mtls_failures_total{reason="expired"}'
        async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while f"{failed} 0.0" in (text := (await admin.get("/metrics")).text):
                    pass
        assert failed in text
