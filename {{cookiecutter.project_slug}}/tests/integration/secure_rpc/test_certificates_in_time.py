"""Certificates and CAs are replaced while calls are made: no good call is lost, and those of a CA that is gone end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Leaf, client_request, server_request
from secure_rpc.dev.rotation import Step, rotate
from secure_rpc.dev.setup import issue_leaves
from secure_rpc.platform import Application
from secure_rpc.server import Server
from secure_rpc.tls import handshake

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support import http2
from support.clocks import until
from support.probe import Servicer
from support.target import TRUST_DOMAIN, Target, reason_of, run_target

PATIENCE_SECONDS = 20
ASK = pb.Ask(act="anything")


class Current:
    """What a client that follows its files shows and trusts."""

    def __init__(self, target: Target) -> None:
        self._files = target.service.files
        self.read()

    def read(self) -> None:
        files = self._files
        self.leaf = Leaf(files.client_certificate.read_bytes(), files.client_key.read_bytes())
        self.ca_pem = files.ca_certificate.read_bytes()

    def channel(self, target: Target) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(self.ca_pem, self.leaf.key_pem, self.leaf.certificate_pem)
        pool = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own, with a handshake
        return grpc.aio.secure_channel(target.service.target, credentials, options=pool)


class Load:
    """Callers that open a connection, make calls, and open the next."""

    def __init__(self, target: Target, current: Current) -> None:
        self._target = target
        self._current = current
        self.failed: list[str] = []
        self.served = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        going = [asyncio.create_task(self._go_on()) for _ in range(2)]
        try:
            yield
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            async with self._current.channel(self._target) as channel:
                for _ in range(5):
                    told = await self._target.ask("Unary", channel=channel)
                    self.served += told.code is grpc.StatusCode.OK
                    if told.code is not grpc.StatusCode.OK:
                        self.failed.append(str(told))
            await asyncio.sleep(0.005)


def taken_up(target: Target, result: str = "ok") -> float:
    return target.service.metric("secure_rpc_certificate_reloads_total", result=result)


async def talk(target: Target, channel: grpc.aio.Channel) -> Any:
    """Begin a stream, and see it answered."""
    call = target.call("Bidi", channel=channel, open_=True)
    await answered(call)
    return call


async def answered(call: Any) -> None:
    await call.write(ASK)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await call.read()).text == ASK.act


def shown_by(target: Target) -> bytes:
    """Return the certificate that the server shows to a new connection, DER."""
    return handshake._certificate_shown(target.service.server.port) or b""


def der_of(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n")


async def test_a_leaf_and_then_a_ca_are_replaced_under_load_and_no_call_fails(
    application: Application, tmp_path: Path
) -> None:
    async with run_target(application, tmp_path) as target:
        settings, files, server = target.service.server.settings, target.service.files, target.service.server
        current = Current(target)
        load = Load(target, current)
        old_channel = current.channel(target)
        old_stream = await talk(target, old_channel)
        async with load.running():
            before = taken_up(target)
            leaf = Authority.load(files.intermediate_certificate, files.intermediate_key)
            leaf.issue(server_request("probe", TRUST_DOMAIN)).write(
                settings.tls.certificate_file, settings.tls.key_file
            )
            await until(lambda: taken_up(target) > before, PATIENCE_SECONDS)
            assert await asyncio.to_thread(shown_by, target) == der_of(settings.tls.certificate_file)
            for step in (Step.ADD, Step.SWITCH):
                before = taken_up(target)
                rotate(settings, files, step)
                current.read()
                await until(lambda before=before: taken_up(target) > before, PATIENCE_SECONDS)  # type: ignore[misc]
                await answered(old_stream)
            new_stream = await talk(target, new_channel := current.channel(target))
            before, streams = taken_up(target), len(server.platform.live)
            rotate(settings, files, Step.REMOVE)
            current.read()
            await until(lambda: taken_up(target) > before, PATIENCE_SECONDS)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await old_stream.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason_of(dict(await old_stream.trailing_metadata())).reason == "CERTIFICATE_UNTRUSTED"
            told = await target.ask("Unary", channel=old_channel)  # the connection lives on
            assert reason_of(told.trailers).reason == "CERTIFICATE_UNTRUSTED"
            await answered(new_stream)
            assert len(server.platform.live) == streams - 1
            served = load.served
            await until(lambda: load.served > served + 10, PATIENCE_SECONDS)
        assert load.failed == []
        assert taken_up(target, "refused") == 0
        [ca] = x509.load_pem_x509_certificates(files.ca_certificate.read_bytes())
        end = target.service.metric("secure_rpc_certificate_not_after_timestamp_seconds", certificate="client_ca")
        assert end == ca.not_valid_after_utc.timestamp()
        await new_channel.close()
        await old_channel.close()


def of_a_foreign_ca(target: Target) -> str:
    root = Authority.create("foreign", path_length=1)
    issue_leaves(target.service.server.settings, target.service.files, root.intermediate("foreign issuing CA"))
    return "server.pem: its CA, 'CN=foreign', is not in"


def with_another_key(target: Target) -> str:
    other = target.service.issue(client_request("other", TRUST_DOMAIN))
    target.service.server.settings.tls.key_file.write_bytes(other.key_pem)
    return "server.key does not belong to the certificate in"


def empty(target: Target) -> str:
    target.service.server.settings.tls.client_ca_file.write_bytes(b"")
    return "ca.pem holds no certificate that can be read"


def cut_short(target: Target) -> str:
    file = target.service.server.settings.tls.certificate_file
    file.write_bytes(file.read_bytes()[:200])
    return "server.pem holds no certificate that can be read"


def gone(target: Target) -> str:
    target.service.server.settings.tls.key_file.unlink()
    return "server.key cannot be read (No such file or directory)"


async def test_files_that_are_not_sound_change_nothing_and_are_told(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    files = target.service.files
    sound = {file: file.read_bytes() for file in files.folder.iterdir() if file.is_file()}
    shown = await asyncio.to_thread(shown_by, target)
    for damage in (of_a_foreign_ca, with_another_key, empty, cut_short, gone):
        caplog.clear()
        refused = taken_up(target, "refused")
        with caplog.at_level(logging.ERROR):
            told = damage(target)
            assert not await target.service.server.platform.certificates.reload()
        assert taken_up(target, "refused") > refused
        assert told in caplog.text
        assert await asyncio.to_thread(shown_by, target) == shown
        assert await target.is_served()
        for file, content in sound.items():
            file.write_bytes(content)
    assert await target.service.server.platform.certificates.reload()
    assert await target.is_served()


def connected(target: Target, context: ssl.SSLContext, ticket: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
    """Connect with a certificate; return whether a session was resumed, and the ticket for the next one."""
    with (
        socket.create_connection(("127.0.0.1", target.service.server.port), 5) as connection,
        context.wrap_socket(connection, server_hostname="localhost", session=ticket) as tls,
    ):
        tls.recv(100)  # the server's settings; tickets come before them
        assert tls.session is not None
        return bool(tls.session_reused), tls.session


async def test_a_session_is_resumed_until_its_ticket_is_ended(target: Target) -> None:
    files, keeper = target.service.files, target.service.server.platform.certificates
    context = http2.tls_context(files.ca_certificate, files.client_certificate, files.client_key)
    ticket: ssl.SSLSession | None = None
    resumed = []
    for number in range(4):
        if number == 2:
            keeper._offered = keeper.current.configuration()  # as it is done by the clock
        was_resumed, ticket = await asyncio.to_thread(connected, target, context, ticket)
        resumed.append(was_resumed)
    assert resumed == [False, True, False, True]


async def test_a_server_that_fails_its_own_handshake_opens_no_port(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ConfigurationError("TLS 1.2 is spoken")

    monkeypatch.setattr(handshake, "check", fails)
    settings = target.service.server.settings
    audit = settings.audit.model_copy(update={"file": settings.audit.file.with_name("other.log")})
    server = Server(
        Application(lambda _: [], lambda server: probe_pb2_grpc.add_ProbeServiceServicer_to_server(Servicer(), server)),
        settings.model_copy(update={"audit": audit}),
    )
    with pytest.raises(ConfigurationError, match=r"TLS 1\.2 is spoken"):
        await server.start()
    assert (server.port, server.unready_because()) == (0, ["starting"])
    await server.admin.stop()
    await server.platform.audit_log.close()


async def test_how_keys_were_agreed_is_counted(target: Target) -> None:
    assert await target.is_served()
    counted = {
        group: target.service.metric("secure_rpc_tls_key_exchange_groups_total", group=group)
        for group in ("X25519MLKEM768", "X25519", "P-256", "other", "unknown")
    }
    assert counted == {"X25519MLKEM768": 1, "X25519": 0, "P-256": 0, "other": 0, "unknown": 0}
