"""Connections that must not come about: nothing of ours runs for them, and nobody else notices."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import grpc
import pytest

from secure_rpc.platform import Application

from support import http2
from support.hostile_certificates import REFUSED_BY_TLS, Forge
from support.probe import path_of
from support.target import Target, run_target

pytestmark = pytest.mark.asyncio(loop_scope="module")
OPENSSL = shutil.which("openssl")
HANDSHAKE_SECONDS = 0.3
CONNECTIONS = 4


async def is_refused(target: Target, context: ssl.SSLContext | None) -> bool:
    """Tell whether a call on a connection of that kind gets no answer and reaches nothing."""
    before = target.calls
    with pytest.raises(OSError):  # noqa: PT011  # how the other side breaks it off is up to it
        async with http2.connect(target.service.server.port, context) as connection:
            await connection.answer(await connection.call(path_of("Public").encode()))
    return target.calls == before and await target.is_served()


def sound_context(target: Target) -> ssl.SSLContext:
    files = target.service.files
    return http2.tls_context(files.ca_certificate, files.client_certificate, files.client_key)


async def test_what_these_attacks_leave_out_is_all_that_a_sound_connection_needs(target: Target) -> None:
    async with http2.connect(target.service.server.port, sound_context(target)) as connection:
        answer = await connection.answer(await connection.call(path_of("Public").encode()))
        assert answer["grpc-status"] == b"0"


async def test_plaintext_http2_gets_no_answer(target: Target) -> None:
    assert await is_refused(target, None)


async def test_plaintext_grpc_gets_no_answer(target: Target) -> None:
    before = target.calls
    async with grpc.aio.insecure_channel(target.service.target) as channel:
        told = await target.ask("Public", channel=channel)
    assert (told.code, target.calls) == (grpc.StatusCode.UNAVAILABLE, before)


async def test_plaintext_http1_gets_no_answer(target: Target) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.service.server.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_tls_1_2_is_refused(target: Target) -> None:
    context = sound_context(target)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await is_refused(target, context)


@pytest.mark.skipif(OPENSSL is None, reason="there is no openssl here")
@pytest.mark.parametrize(("version", "agreed"), [("-tls1_3", True), ("-tls1_2", False), ("-tls1_1", False)])
async def test_old_tls_by_openssl_is_refused(target: Target, version: str, *, agreed: bool) -> None:
    files = target.service.files
    arguments = ["-connect", target.service.target, "-alpn", "h2", version, "-CAfile", str(files.ca_certificate)]
    arguments += ["-cert", str(files.client_certificate), "-key", str(files.client_key)]
    process = await asyncio.create_subprocess_exec(
        str(OPENSSL), "s_client", *arguments, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    assert (b"Verification: OK" in output and b"New, TLSv1.3" in output) is agreed
    assert (b"New, (NONE)" in output) is not agreed


async def test_no_client_certificate_is_refused(target: Target) -> None:
    context = ssl.create_default_context(cafile=str(target.service.files.ca_certificate))
    context.set_alpn_protocols(["h2"])
    assert await is_refused(target, context)


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]], ids=["none", "http/1.1"])
async def test_another_protocol_than_http2_is_refused(target: Target, protocols: list[str]) -> None:
    files = target.service.files
    context = ssl.create_default_context(cafile=str(files.ca_certificate))
    context.load_cert_chain(files.client_certificate, files.client_key)
    if protocols:
        context.set_alpn_protocols(protocols)
    assert await is_refused(target, context)


@pytest.mark.parametrize("forge", REFUSED_BY_TLS.values(), ids=REFUSED_BY_TLS)
async def test_a_certificate_is_refused_by_tls(target: Target, forge: Forge) -> None:
    before = target.calls
    async with target.bare_channel(forge(target.service.authority)) as channel:
        for shape in ("Unary", "Public"):
            assert (await target.ask(shape, channel=channel)).code is grpc.StatusCode.UNAVAILABLE
    assert target.calls == before
    assert await target.is_served()


async def test_silent_connections_are_closed_in_time_and_cannot_use_up_all_that_there_may_be(
    application: Application, tmp_path: Path
) -> None:
    limits = {"handshake_timeout_seconds": HANDSHAKE_SECONDS, "max_connections": CONNECTIONS}
    async with run_target(application, tmp_path, {"limits": limits}) as target, AsyncExitStack() as stack:
        silent = []
        for _ in range(2 * CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.service.server.port)
            stack.callback(writer.close)
            silent.append(reader)
        async with asyncio.timeout(10 * HANDSHAKE_SECONDS):
            for reader in silent:
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
        assert await target.is_served()
