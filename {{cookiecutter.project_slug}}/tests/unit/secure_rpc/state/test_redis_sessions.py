"""Sessions in a real store: the longest end counts, whoever writes last; what is malformed is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.call import Peer, Principal
from secure_rpc.state.connection import State
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_sessions import GRACE_SECONDS, RedisSessions
from secure_rpc.state.sessions import Extension, Owner, SessionRecord

from support.stores import real_store

NOW = 4_000_000_000.0  # far off: the store has a clock of its own
ALICE = Owner("spiffe://example.org/client/web", "https://issuer.example.org", "alice")
# as docs/streams.md has it
RULES = "~{orders}:session:* +hello +auth +eval +hget +hset +pexpireat +hmget +unlink"


def record(until: float, latest: float = float("inf")) -> SessionRecord:
    return SessionRecord(ALICE, "/things.v1.Things/Watch", until, latest)


def extension(until: float, **more: Any) -> Extension:
    principal = Principal(
        *ALICE,
        tenants=frozenset({"acme", "größer"}),
        groups=frozenset({"callers"}),
        roles=frozenset({"auditor"}),
        proofs=("certificate", "token"),
        expires_at_seconds=until,
        claims={"jti": "new", "nested": {"a": [1, None, "x"]}, **more},
    )
    return Extension(principal, Peer("", {"x509_pem_cert": [b"PEM"], "x509_pem_cert_chain": [b"CHAIN"]}), until)


class Kept:
    """The sessions, and the store they are in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sessions = RedisSessions(store)

    async def raw(self, *command: Any) -> Any:
        return await self.store.run(lambda client: client.execute_command(*command))  # type: ignore[no-untyped-call]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    rules, password = tmp_path / "users.acl", tmp_path / "password"
    rules.write_text(f"user default on nopass ~* &* +@all\nuser orders on >correct-horse {RULES} +ttl\n")
    password.write_text("correct-horse")
    async with real_store(tmp_path / "store", "--aclfile", str(rules)) as running:
        settings = State(redis_url=running.url, timeout_seconds=2, username="orders", password_file=password)
        store = Store(settings, "orders")
        yield Kept(store)
        await store.close()


def test_the_page_names_the_rights_that_are_needed() -> None:
    assert RULES.replace("orders", "service name") in Path("docs/streams.md").read_text(encoding="utf-8")


async def test_what_is_put_is_read_and_removed(kept: Kept) -> None:
    sessions = kept.sessions
    await sessions.put([("one", record(NOW)), ("two", record(NOW + 1, NOW + 2))])
    assert await sessions.read("one") == record(NOW)
    assert await sessions.read("two") == record(NOW + 1, NOW + 2)
    assert await sessions.read("three") is None
    await sessions.remove(["one"])
    assert await sessions.read("one") is None
    assert await sessions.extensions(["one", "two"]) == [None, None]


async def test_an_extension_comes_back_as_it_was_given(kept: Kept) -> None:
    await kept.sessions.put([("one", record(NOW))])
    given = extension(NOW + 10)
    assert await kept.sessions.extend("one", given) == NOW + 10
    [found] = await kept.sessions.extensions(["one"])
    assert found == given
    assert found is not None
    assert found.principal.claims == given.principal.claims
    assert await kept.sessions.read("one") == record(NOW + 10)


async def test_the_longest_end_counts_and_nothing_shortens_it(kept: Kept) -> None:
    sessions = kept.sessions
    await sessions.put([("one", record(NOW))])
    assert await sessions.extend("one", extension(NOW - 1)) == NOW
    assert await sessions.extensions(["one"]) == [None]
    assert await sessions.extend("one", extension(NOW + 10.25)) == NOW + 10.25
    await sessions.put([("one", record(NOW))])  # by its holder, who does not know of it
    assert await sessions.read("one") == record(NOW + 10.25)
    assert await sessions.extensions(["one"]) == [extension(NOW + 10.25)]
    await sessions.put([("one", record(NOW + 20))])
    assert await sessions.extend("one", extension(NOW + 15)) == NOW + 20
    assert await sessions.read("one") == record(NOW + 20)


async def test_what_does_not_exist_is_not_extended(kept: Kept) -> None:
    assert await kept.sessions.extend("one", extension(NOW)) is None
    assert await kept.sessions.read("one") is None


async def test_the_store_forgets_a_session_a_while_after_its_end(kept: Kept) -> None:
    await kept.sessions.put([("one", record(NOW))])
    before = await kept.raw("TTL", kept.store.key("session:one"))
    await kept.sessions.extend("one", extension(NOW + 1000))
    assert abs(await kept.raw("TTL", kept.store.key("session:one")) - before - 1000) < GRACE_SECONDS
    await kept.sessions.put([("over", record(1000.0))])
    assert await kept.sessions.read("over") is None


@pytest.mark.parametrize("text", ["", "[]", "[1]", "{}", "null", '["a","b","c"]', "\xff", "[1,2,3,4,{}]"])
async def test_what_is_malformed_counts_as_nothing(kept: Kept, text: str) -> None:
    key = kept.store.key("session:one")
    await kept.raw("HSET", key, "until", repr(NOW), "record", text, "extension", text)
    assert await kept.sessions.read("one") is None
    assert await kept.sessions.extensions(["one"]) == [None]
