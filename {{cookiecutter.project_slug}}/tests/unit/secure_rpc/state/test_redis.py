"""The shared store is asked only by those who may, as its settings say, and is left alone while it does not answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request, server_request
from secure_rpc.state.availability import PAUSE_SECONDS, StoreUnavailable
from secure_rpc.state.connection import State, TlsFiles
from secure_rpc.state.redis import FAILURES, Store

from support.clocks import Clock
from support.stores import RealStore, behind_tls, real_store

READER = "user reader on >correct-horse ~{orders}:* +hello +auth +get +hscan"  # as docs/certificates.md has it


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RealStore]:
    rules = tmp_path / "users.acl"
    rules.write_text(f"user default on nopass ~* &* +@all\n{READER}\n")
    async with real_store(tmp_path / "store", "--aclfile", str(rules)) as running:
        yield running


async def ping(client: Redis) -> Any:
    return await client.get("{orders}:a")


def settings_of(store: RealStore, **more: Any) -> State:
    return State(redis_url=store.url, timeout_seconds=2, **more)


async def outcome(settings: State) -> str:
    connection = Store(settings, "orders")
    try:
        await connection.run(ping)
    except StoreUnavailable as error:
        return str(error)
    finally:
        await connection.close()
    return "answered"


async def test_a_user_and_a_password_are_those_of_the_file_of_now(store: RealStore, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct-horse\n")
    settings = settings_of(store, username="reader", password_file=file)
    assert await outcome(settings) == "answered"
    connection = Store(settings, "orders")
    file.write_text("wrong")
    with pytest.raises(StoreUnavailable, match="AuthenticationError"):
        await connection.run(ping)
    file.write_text("correct-horse")
    assert await connection.run(ping) is None
    await connection.close()


async def test_a_reader_may_not_write(store: RealStore, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct-horse")
    connection = Store(settings_of(store, username="reader", password_file=file), "orders")

    async def write(client: Redis) -> None:
        await client.set("{orders}:a", "1")

    with pytest.raises(StoreUnavailable, match="NoPermission"):
        await connection.run(write)
    await connection.close()


async def test_a_store_that_does_not_answer_is_left_alone_but_for_one_attempt_in_a_while() -> None:
    attempts = 0

    async def fail(_client: Redis) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        raise ConnectionResetError("no")

    async def succeed(_client: Redis) -> str:
        return "done"

    clock, failures = Clock(), []
    connection = Store(
        State(redis_url="redis://localhost:1"), "orders", on_failure=lambda: failures.append(1), clock=clock
    )

    async def several(count: int) -> None:
        tries = await asyncio.gather(*(connection.run(fail) for _ in range(count)), return_exceptions=True)
        assert all(isinstance(each, StoreUnavailable) for each in tries)

    for _ in range(FAILURES):
        await several(1)
    assert not connection.is_reachable
    await several(20)
    assert attempts == FAILURES
    clock.pass_(PAUSE_SECONDS)
    await several(20)
    assert attempts == len(failures) == FAILURES + 1
    clock.pass_(PAUSE_SECONDS)
    assert await connection.run(succeed) == "done"
    assert connection.is_reachable
    await several(1)
    assert attempts == FAILURES + 2
    await connection.close()


async def test_a_store_that_hangs_is_given_up_after_the_timeout(store: RealStore) -> None:
    connection = Store(State(redis_url=store.url, timeout_seconds=0.05), "orders")
    with store.halted(), pytest.raises(StoreUnavailable, match="nothing in time"):
        await connection.run(ping)
    await connection.close()


async def test_over_tls_the_store_has_to_be_vouched_for_by_the_ca_of_the_file_and_may_ask_who_we_are(
    store: RealStore, tmp_path: Path
) -> None:
    authority, other = Authority.create("store CA"), Authority.create("other CA")
    leaf = authority.issue(server_request("store", "example.org"))
    leaf.write(tmp_path / "store.pem", tmp_path / "store.key")
    authority.issue(client_request("orders", "example.org")).write(tmp_path / "own.pem", tmp_path / "own.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "store.pem", tmp_path / "store.key")
    (tmp_path / "other.pem").write_bytes(other.certificate_pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    async with behind_tls(store, context) as port:
        url = f"rediss://localhost:{port}"

        def state(ca: str, **more: Any) -> State:
            return State(redis_url=url, ca_file=tmp_path / ca, timeout_seconds=2, **more)

        own = {"certificate_file": tmp_path / "own.pem", "key_file": tmp_path / "own.key"}
        assert await outcome(state("ca.pem", **own)) == "answered"
        assert "CERTIFICATE_VERIFY_FAILED" in await outcome(state("other.pem", **own))
        assert "answered" not in await outcome(state("ca.pem"))
        assert "answered" not in await outcome(State(redis_url=f"redis://127.0.0.1:{port}", timeout_seconds=0.2))


def test_tls_is_made_anew_when_a_file_changes_and_is_1_2_at_least(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(Authority.create("one").certificate_pem)
    files = TlsFiles(State(redis_url="rediss://store", ca_file=file))
    first = files.context()
    assert files.context() is first
    assert (first.minimum_version, first.check_hostname) == (ssl.TLSVersion.TLSv1_2, True)
    assert len(first.get_ca_certs()) == 1
    file.write_bytes(Authority.create("another one").certificate_pem)
    assert files.context() is not first
    file.write_bytes(b"no certificate")
    with pytest.raises(ConfigurationError, match="ca_file"):
        TlsFiles(State(redis_url="rediss://store", ca_file=file))


def test_a_password_file_that_is_missing_or_empty_is_an_error_at_the_start(tmp_path: Path) -> None:
    for make in (Path.unlink, Path.touch):
        file = tmp_path / "password"
        file.touch()
        make(file)
        with pytest.raises(ConfigurationError, match=r"state\.password_file"):
            Store(State(redis_url="redis://localhost", password_file=file), "orders")


async def test_what_takes_many_answers_is_given_up_as_well() -> None:
    async def never_end(_client: Redis) -> None:
        await asyncio.Event().wait()

    connection = Store(State(redis_url="redis://localhost:1", timeout_seconds=0.01), "orders")
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable, match="nothing in time"):
            await connection.run(never_end)
    await connection.close()
