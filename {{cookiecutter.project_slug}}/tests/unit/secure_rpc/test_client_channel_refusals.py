"""Certificates that are no good, or that the server does not take, are not taken up by a channel, and that is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc import client_channel
from secure_rpc.dev.authority import Authority, client_request

from support.renewals import Renewals, ask, run_renewals, told, until

C = grpc.StatusCode


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Renewals]:
    async with run_renewals(tmp_path / "client") as running:
        yield running


def wrong(world: Renewals) -> dict[str, tuple[list[bytes], str]]:
    """Return contents of the files that are not taken up, and why not."""
    certificate, key, ca = world.contents(world.issue("new"))
    past = datetime.now(UTC) - timedelta(days=2)
    expired = world.issue("new", not_before=past, lifetime=timedelta(days=1))
    folder = world.folder
    return {
        "the key of another": (
            [certificate, world.issue("x").key_pem, ca],
            f"{folder}/client.key does not belong to the certificate in {folder}/client.pem",
        ),
        "expired": ([expired.certificate_pem, expired.key_pem, ca], "the certificate expired "),
        "an expired authority": (
            [certificate, key, Authority.create("old CA", past - timedelta(days=365)).certificate_pem],
            "every CA expired ",
        ),
        "no certificate": ([b"garbage", key, ca], f"{folder}/client.pem holds no certificate that can be read"),
        "no key": ([certificate, b"garbage", ca], f"{folder}/client.key is no key that can be read"),
        "no authority": ([certificate, key, b""], f"{folder}/ca.pem is empty"),
        "garbage for an authority": ([certificate, key, b"garbage"], f"{folder}/ca.pem holds no certificate"),
    }


async def test_files_that_are_no_good_are_not_used_and_that_is_said(
    world: Renewals, caplog: pytest.LogCaptureFixture
) -> None:
    world.swap(world.contents(world.issue("old")))
    unary = ask(world.connect())
    for contents, why in wrong(world).values():
        assert await unary(b"") == b"old"
        caplog.clear()
        world.swap(contents)
        assert (await told(caplog, "the client's new certificate is not used, the old one stays: ")).startswith(why)
        assert await unary(b"") == b"old"
    world.files[1].unlink()
    why = f"{world.files[1]} cannot be read (No such file or directory); check the path"
    assert await told(caplog, f"the client's new certificate is not used, the old one stays: {why}") == ""
    world.files[1].symlink_to("..data/client.key")
    world.swap(world.contents(world.issue("new")))
    await until(unary, "new")


async def test_a_certificate_that_the_server_does_not_take_is_not_used(
    world: Renewals, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_channel, "READY_SECONDS", 0.05)
    world.write(world.contents(world.issue("old")))
    unary = ask(world.connect())
    assert await unary(b"") == b"old"
    stranger = Authority.create("other CA").issue(client_request("stranger", "test"))
    world.write(world.contents(stranger))
    await told(caplog, "the server is not reached with the new certificate, the old one stays until it is")
    assert await unary(b"") == b"old"
    world.write(world.contents(world.issue("new")))
    await until(unary, "new")


async def test_where_the_old_certificate_has_expired_there_is_no_sense_in_staying(world: Renewals) -> None:
    world.write(world.contents(world.issue("old", lifetime=timedelta(days=1))))
    channel: Any = world.connect()
    assert await ask(channel)(b"") == b"old"
    later = datetime.now(UTC) + timedelta(days=2)
    channel._clock = later.timestamp
    stranger = Authority.create("other CA").issue(client_request("stranger", "test"))
    world.write(world.contents(stranger))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await until(ask(channel), "nobody")
    assert caught.value.code() is C.UNAVAILABLE


async def test_a_client_that_starts_with_an_expired_certificate_says_so_and_goes_on_with_the_next(
    world: Renewals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    past = datetime.now(UTC) - timedelta(days=2)
    world.write(world.contents(world.issue("old", not_before=past, lifetime=timedelta(days=1))))
    unary = ask(world.connect())
    assert (await told(caplog, "the client's certificate will be refused: ")).startswith("the certificate expired ")
    with pytest.raises(grpc.aio.AioRpcError):
        await unary(b"")
    world.write(world.contents(world.issue("new")))
    await told(caplog, "the client's certificate was renewed")
    assert await unary(b"", wait_for_ready=True) == b"new"
