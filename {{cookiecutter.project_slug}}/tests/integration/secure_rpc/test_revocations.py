"""What is revoked is refused at the next call, and its streams end; all others go on."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from secure_rpc.dev.authority import Leaf, client_request
from secure_rpc.identity.deny_list import Revocation, revoke, take_back
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.target import ISSUER, TRUST_DOMAIN, Target, reason_of, run_target

ASK = pb.Ask(act="anything")
PATIENCE_SECONDS = 20


class Caller:
    """Somebody who makes calls and has a stream open."""

    def __init__(self, target: Target, channel: grpc.aio.Channel, authorization: str) -> None:
        self._target = target
        self._channel = channel
        self._authorization = authorization
        self.stream: Any = target.call("Bidi", channel=channel, authorization=authorization, open_=True)

    async def is_answered(self) -> bool:
        await self.stream.write(ASK)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return bool((await self.stream.read()).text == ASK.act)

    async def end_of_stream(self) -> tuple[str, str, str]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            code = await self.stream.code()
        trailers = dict(await self.stream.trailing_metadata())
        record = await self._target.record(str(trailers["correlation-id"]))
        return code.name, reason_of(trailers).reason, record["reason"]

    async def ask(self) -> tuple[str, str, str]:
        told = await self._target.ask("Unary", channel=self._channel, authorization=self._authorization)
        if told.code is grpc.StatusCode.OK:
            return ("OK", "", "")
        return told.code.name, reason_of(told.trailers).reason, (await self._target.record_of(told))["reason"]


@asynccontextmanager
async def caller(target: Target, leaf: Leaf, who: str = "alice", **claims: Any) -> AsyncIterator[Caller]:
    async with target.bare_channel(leaf) as channel:
        made = Caller(target, channel, f"Bearer {target.service.token_of(who, **claims)}")
        assert await made.is_answered()
        yield made


def serial_of(leaf: Leaf) -> str:
    return f"{x509.load_pem_x509_certificate(leaf.certificate_pem).serial_number:x}"


def issuer_of(leaf: Leaf) -> str:
    return x509.load_pem_x509_certificate(leaf.certificate_pem).issuer.rfc4514_string()


Say = Callable[[Leaf], Revocation]
KINDS: dict[str, tuple[Say, str]] = {
    "certificate": (lambda leaf: Revocation(serial=serial_of(leaf), issuer=issuer_of(leaf)), "CERTIFICATE_REVOKED"),
    "SPIFFE ID": (lambda _: Revocation(spiffe_id=f"spiffe://{TRUST_DOMAIN}/client/thief"), "SPIFFE_ID_REVOKED"),
    "subject": (lambda _: Revocation(subject="thief", issuer=ISSUER), "SUBJECT_REVOKED"),
    "token": (lambda _: Revocation(token_id="stolen", issuer=ISSUER), "TOKEN_REVOKED"),  # noqa: S106  # no secret
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_revoked_credential_is_refused_its_stream_ends_and_nobody_elses_does(target: Target, kind: str) -> None:
    say, recorded = KINDS[kind]
    stolen, sound = (target.leaf(name) for name in ("thief", "developer"))
    refused = ("UNAUTHENTICATED", "CREDENTIAL_REVOKED", recorded)
    listed = target.service.server.settings.revocation.deny_list_file
    assert listed is not None
    async with caller(target, stolen, sub="thief", jti="stolen") as thief, caller(target, sound, jti="own") as other:
        assert await thief.ask() == ("OK", "", "")
        began = time.monotonic()
        assert revoke(listed, say(stolen))
        assert await thief.end_of_stream() == refused
        assert time.monotonic() - began < 5  # a second, on a machine that is not busy
        assert await thief.ask() == refused
        assert await other.is_answered()
        assert await other.ask() == ("OK", "", "")


async def test_in_an_emergency_everybody_of_an_issuer_is_refused_and_comes_back(target: Target) -> None:
    listed = target.service.server.settings.revocation.deny_list_file
    assert listed is not None
    everybody = Revocation(subject="*", issuer=ISSUER)
    async with (
        caller(target, target.leaf("one")) as alice,
        caller(target, target.leaf("two"), "bob") as bob,
    ):
        assert revoke(listed, everybody)
        refused = ("UNAUTHENTICATED", "CREDENTIAL_REVOKED", "ISSUER_REVOKED")
        for each in (alice, bob):
            assert await each.end_of_stream() == refused
            assert await each.ask() == refused
        revocations = target.service.server.platform._trust.revocations
        assert take_back(listed, everybody)
        assert await revocations.reload([listed])
        assert await alice.ask() == ("OK", "", "")


async def test_a_deny_list_that_is_wrong_or_gone_leaves_revoked_what_was(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    listed = target.service.server.settings.revocation.deny_list_file
    assert listed is not None
    revocations = target.service.server.platform._trust.revocations
    revoke(listed, Revocation(subject="alice", issuer=ISSUER))
    assert await revocations.reload([listed])
    for content, told in ((b"version: 1\nrevoked:\n  - subjcet: bob\n", "deny.yaml:3"), (None, "cannot be read")):
        listed.unlink() if content is None else listed.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            assert not await revocations.reload([listed])
        assert told in caplog.text
        told_alice = await target.ask("Unary")
        assert reason_of(told_alice.trailers).reason == "CREDENTIAL_REVOKED"
    assert target.service.metric("secure_rpc_revocation_reloads_total", result="refused") >= 2


async def test_a_certificate_on_its_cas_list_is_refused_when_the_list_comes(
    application: Application, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crl"
    async with run_target(application, tmp_path) as first:  # makes the CA that signs the list
        authority = first.service.authority
        file.write_bytes(authority.revocation_list([]))
    for folder in first.service.files.folder.glob("client-*"):
        shutil.rmtree(folder)
    async with run_target(application, tmp_path, {"revocation": {"crl_files": [file]}}) as target:
        stolen = target.service.issue(client_request("thief", TRUST_DOMAIN))
        public = target.service.issue(client_request("other", TRUST_DOMAIN))
        number = int(serial_of(stolen), 16)
        async with (
            caller(target, stolen) as thief,
            caller(target, public) as other,
            target.bare_channel(stolen) as watching,
        ):
            health: Any = health_pb2_grpc.HealthStub(watching)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            later = authority.revocation_list([number], number=2)
            file.write_bytes(later)
            refused = ("UNAUTHENTICATED", "CREDENTIAL_REVOKED", "CERTIFICATE_REVOKED")
            assert await thief.end_of_stream() == refused
            assert await thief.ask() == refused
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await watch.code() is grpc.StatusCode.UNAUTHENTICATED  # of a public method
            assert await other.is_answered()
            await until(lambda: target.service.metric("secure_rpc_revocations", list="crl") == 1)
            async with target.bare_channel(stolen) as channel:
                assert (await target.ask("Public", channel=channel)).code is grpc.StatusCode.UNAUTHENTICATED
