"""Drills on certificates: one that ends, and clients that speak an old protocol."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from secure_rpc.dev.authority import Authority, server_request
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.story import Story, told

LEFT = timedelta(hours=20)
ATTEMPTS = 60
SERVER_ENDS = 'min(secure_rpc_certificate_not_after_timestamp_seconds{certificate="server"}) - time()'


async def expiring(plan: Plan) -> Outcome:
    """Let the server's certificate come near its end; a new one is taken up without a restart."""
    return await told(plan, _expiring)


async def downgraded(plan: Plan) -> Outcome:
    """Have clients insist on TLS 1.2; nobody gets in by it."""
    return await told(plan, _downgraded)


async def _expiring(story: Story) -> None:
    alert = "CertificateExpiresWithinADay"
    files, settings = story.ground.files, story.ground.settings
    channel = story.caller.channel()
    await story.calm(alert)
    issuing = Authority.load(files.intermediate_certificate, files.intermediate_key)
    request = server_request(settings.service.name, settings.authentication.trust_domain)
    issuing.issue(replace(request, lifetime=LEFT)).write(settings.tls.certificate_file, settings.tls.key_file)
    story.fault(f"the server's certificate ends in {LEFT}")
    await story.signal(f"{SERVER_ENDS} < {LEFT.total_seconds():.0f}", "the service tells when it ends")
    story.expect(await story.caller.answered(channel), "calls are refused although the certificate is good")
    await story.alert(alert)
    await story.runbook("CertificateExpiresWithinADay", "certificate-expiry")

    async def is_renewed() -> bool:
        renewed = await story.watch.value(SERVER_ENDS) > LEFT.total_seconds()
        return renewed and await story.caller.answered(story.caller.channel())

    await story.recovered("a new certificate is served, and new connections are made", is_renewed)
    story.expect(await story.caller.answered(channel), "a connection from before is lost")
    await story.resolved(alert)


async def _downgraded(story: Story) -> None:
    alert = "TlsHandshakesFailEnMasse"
    channel = story.caller.channel()
    await story.calm(alert)
    story.fault(f"{ATTEMPTS} clients insist on TLS 1.2")
    async with story.meanwhile(_attempts(story)) as attempting:
        await story.signal("sum(grpc_server_tls_handshake_failures_total)", "handshakes fail, and are counted")
        await story.alert(alert)
        let_in = await attempting
    story.expect(not let_in, f"{let_in} clients came in by TLS 1.2")
    await story.runbook(alert, "protocol-downgrade")
    await story.recovered("others are answered all the while", lambda: story.caller.answered(channel))
    await story.resolved(alert)


async def _attempts(story: Story) -> int:
    files = story.ground.files
    context = ssl.create_default_context(cafile=str(files.ca_certificate))
    context.load_cert_chain(files.client_certificate, files.client_key)
    context.set_alpn_protocols(["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, _, port = story.ground.target.rpartition(":")
    let_in = 0
    for _ in range(ATTEMPTS):
        with suppress(OSError):  # an error of TLS is one
            _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
            let_in += 1
            writer.close()
        await asyncio.sleep(0.2)
    return let_in
