"""Beyond loopback the numbers are shown to named workloads alone, by mutual TLS; probes have a plain port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from secure_rpc.dev.authority import Authority, Leaf, Request, client_request
from secure_rpc.dev.setup import issue_leaves
from secure_rpc.platform import Application
from secure_rpc.tls import handshake

from support.clocks import until
from support.processes import readiness, serve_process
from support.target import TRUST_DOMAIN, Target, run_target

PROMETHEUS = f"spiffe://{TRUST_DOMAIN}/client/prometheus"
SETTINGS: dict[str, Any] = {
    "listen": {"probe_address": "127.0.0.1:0"},
    "admin": {"tls": True, "allowed_workloads": [PROMETHEUS]},
}


@pytest.fixture
async def guarded(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path, SETTINGS) as running:
        yield running


def context(folder: Path, ca_file: Path, leaf: Leaf | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(ca_file))
    made.check_hostname = False  # the certificate is of "localhost"
    if leaf is not None:
        leaf.write(folder / "scraper.pem", folder / "scraper.key")
        made.load_cert_chain(folder / "scraper.pem", folder / "scraper.key")
    return made


async def get(target: Target, path: str, leaf: Leaf | None) -> httpx.Response:
    files = target.service.files
    verify = context(files.folder, files.ca_certificate, leaf)
    async with httpx.AsyncClient(verify=verify) as client:
        return await client.get(f"https://127.0.0.1:{target.service.server.admin.port}{path}")


async def shown_by(port: int) -> bytes | None:
    """Return the certificate that a new connection is shown, DER."""
    return await asyncio.to_thread(handshake._certificate_shown, port)


def prometheus(target: Target) -> Leaf:
    return target.service.issue(client_request("prometheus", TRUST_DOMAIN))


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_a_workload_that_is_named_is_answered(guarded: Target, path: str) -> None:
    assert (await get(guarded, path, prometheus(guarded))).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        client_request("developer", TRUST_DOMAIN),
        client_request("prometheus", "other.example.org"),
        Request("prometheus"),
        Request("two", uris=(PROMETHEUS, "spiffe://example.org/another")),
        Request("prometheus", dns_names=(PROMETHEUS.replace("/", "-"),)),
    ],
    ids=["another", "of another domain", "nameless", "with two names", "with another kind of name"],
)
async def test_any_other_workload_is_told_nothing(guarded: Target, request_: Request) -> None:
    answer = await get(guarded, "/metrics", guarded.service.issue(request_))
    assert answer.status_code == 403
    assert "grpc_" not in answer.text


async def test_who_has_no_sound_certificate_is_not_let_in(guarded: Target) -> None:
    foreign = Authority.create("foreign").issue(client_request("prometheus", TRUST_DOMAIN))
    for leaf in (None, foreign):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
            await get(guarded, "/metrics", leaf)
    async with httpx.AsyncClient() as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.get(f"http://127.0.0.1:{guarded.service.server.admin.port}/metrics")


async def test_nothing_older_than_tls_1_3_is_spoken(guarded: Target) -> None:
    files = guarded.service.files
    old = context(files.folder, files.ca_certificate, prometheus(guarded))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with httpx.AsyncClient(verify=old) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://127.0.0.1:{guarded.service.server.admin.port}/metrics")


async def test_the_port_of_the_probes_tells_no_numbers(guarded: Target) -> None:
    admin: Any = guarded.service.server.admin
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin.probe_port}") as client:
        codes = {path: (await client.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics")}
    assert codes == {"/healthz": 200, "/readyz": 200, "/metrics": 404}


async def test_new_certificates_are_taken_up_and_bad_ones_are_not(
    guarded: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    service = guarded.service
    shown = await shown_by(service.server.admin.port)
    issue_leaves(service.server.settings, service.files, service.authority)
    await until(lambda: "the admin port's certificates were taken up" in caplog.text, 20)
    await until(lambda: service.metric("secure_rpc_certificate_reloads_total", result="ok"), 20)
    assert await shown_by(service.server.admin.port) == await shown_by(service.server.port) != shown
    assert (await get(guarded, "/metrics", prometheus(guarded))).status_code == 200
    (service.files.folder / "server.pem").write_text("no certificate")
    await until(lambda: "the admin port's certificates are left as they were" in caplog.text, 20)
    assert (await get(guarded, "/metrics", prometheus(guarded))).status_code == 200


async def test_the_supervisor_asks_for_a_certificate_too(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path, SETTINGS) as served:
        files, line = served.files, await served.process.line("serving")
        authority = Authority.load(files.ca_certificate, files.ca_key)
        codes = {}
        for name in ("prometheus", "developer"):
            verify = context(tmp_path, files.ca_certificate, authority.issue(client_request(name, TRUST_DOMAIN)))
            async with httpx.AsyncClient(verify=verify) as client:
                codes[name] = (await client.get(f"https://{line['admin']}/metrics")).status_code
        assert codes == {"prometheus": 200, "developer": 403}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{line['probes']}") as client:
            assert (await readiness(client)).json() == {"ready": True}
            assert (await client.get("/metrics")).status_code == 404
