"""API keys that were never given out, or belong elsewhere, and keys in place of tokens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from secure_rpc.identity.api_key import ApiKey, new_key, save
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.hostile_certificates import SOUND_ID
from support.probe import path_of
from support.target import KINDS, POLICY, Target, reason_of, run_target
from support.world import Ending

pytestmark = pytest.mark.asyncio(loop_scope="module")
POLICY_WITH_KEYS = POLICY + "  - role: caller\n    principals: [{ issuer: api-key, group: jobs }]\n    tenants: own\n"
GUESSES = 2000


@dataclass
class Keys:
    """A server that takes API keys beside tokens, and two keys: one that is good, one that has expired."""

    target: Target
    file: Path
    good: str
    expired: str
    entries: dict[str, ApiKey]

    async def ask(self, key: str, authorization: str = "", shape: str = "Unary") -> Ending:
        return await self.target.knock(shape, authorization=authorization, metadata=[("x-api-key", key)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keys(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keys]:
    folder = tmp_path_factory.mktemp("keys")
    texts, entries = [], {}
    for days in (1, -1):
        text, entry = new_key("batch", datetime.now(UTC) + timedelta(days=days), ("acme",), ("jobs",))
        texts.append(text)
        entries[text.partition(".")[0]] = entry
    save(folder / "keys.yaml", entries)
    settings = {"authentication": {"credentials": ["both", "api_key"], "api_keys_file": folder / "keys.yaml"}}
    async with run_target(application, folder, settings, policy=POLICY_WITH_KEYS) as target:
        yield Keys(target, folder / "keys.yaml", texts[0], texts[1], entries)


async def refuse(keys: Keys, told: Ending, reason: str, recorded: str = "") -> None:
    assert (told.code.name, told.messages) == ("UNAUTHENTICATED", [])
    assert reason_of(told.trailers).reason == reason
    record = await keys.target.record_of(told)
    assert (record["reason"], record["subject"]) == (recorded or reason, "")
    assert record["workload"] == SOUND_ID
    for secret in (keys.good, keys.expired):
        assert secret not in str(record)
        assert secret.partition(".")[2] not in str(told)


async def test_the_good_key_is_good(keys: Keys) -> None:
    for shape in KINDS:
        told = await keys.target.ask(shape, authorization="", metadata=[("x-api-key", keys.good)])
        assert told.code.name == "OK"


FORGED: dict[str, Callable[[Keys], str]] = {
    "the secret of another": lambda keys: f"{keys.good.partition('.')[0]}.{keys.expired.partition('.')[2]}",
    "the id alone": lambda keys: keys.good.partition(".")[0],
    "the secret alone": lambda keys: keys.good.partition(".")[2],
    "the hash in place of the secret": lambda keys: (
        f"{keys.good.partition('.')[0]}.{keys.entries[keys.good.partition('.')[0]].sha256[:43]}"
    ),
    "the secret in another case": lambda keys: (
        f"{keys.good.partition('.')[0]}.{keys.good.partition('.')[2].swapcase()}"
    ),
    "a letter more": lambda keys: keys.good + "A",
    "a letter less": lambda keys: keys.good[:-1],
    "an unknown id": lambda keys: f"000000000000.{keys.good.partition('.')[2]}",
    "two keys": lambda keys: f"{keys.good},{keys.good}",
    "the scheme of a token": lambda keys: f"Bearer {keys.good}",
    "a path": lambda _: "../../etc/passwd",
    "a pattern": lambda _: "*.*",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_key_that_was_not_given_out_is_refused_by_every_kind(keys: Keys, forge: Callable[[Keys], str]) -> None:
    for shape in KINDS:
        await refuse(keys, await keys.ask(forge(keys), shape=shape), "API_KEY_INVALID")


async def test_an_expired_key_is_refused_and_only_the_record_says_why(keys: Keys) -> None:
    await refuse(keys, await keys.ask(keys.expired), "API_KEY_INVALID", "API_KEY_EXPIRED")


async def test_a_key_in_place_of_a_token_is_no_token(keys: Keys) -> None:
    told = await keys.target.knock("Unary", authorization=f"Bearer {keys.good}")
    await refuse(keys, told, "TOKEN_MALFORMED")
    told = await keys.target.knock("Unary", authorization=keys.good)
    await refuse(keys, told, "TOKEN_SCHEME_UNKNOWN")


async def test_a_token_in_place_of_a_key_is_no_key(keys: Keys) -> None:
    token = keys.target.token()
    for text in (token, f"Bearer {token}"):
        await refuse(keys, await keys.ask(text), "API_KEY_INVALID")


async def test_a_key_together_with_a_token_is_refused_whichever_is_good(keys: Keys) -> None:
    good, bad = f"Bearer {keys.target.token()}", "Bearer a.b.c"
    for key, authorization in ((keys.good, good), (keys.good, bad), ("a.b", good), ("a.b", bad)):
        await refuse(keys, await keys.ask(key, authorization), "CREDENTIALS_AMBIGUOUS")


async def test_two_keys_in_two_headers_are_refused_whichever_is_good(keys: Keys) -> None:
    for pair in ((keys.good, "a.b"), ("a.b", keys.good), (keys.good, keys.good)):
        async with keys.target.raw() as connection:
            metadata = [(b"x-api-key", key.encode()) for key in pair]
            stream = await connection.call(path_of("Unary").encode(), metadata=metadata)
            answer = await connection.answer(stream)
        assert answer["grpc-status"] == b"3"
        assert (await keys.target.record(answer["correlation-id"].decode()))["reason"] == "METADATA_AMBIGUOUS"


async def test_a_key_gives_the_rights_of_its_groups_and_tenants_and_no_more(keys: Keys) -> None:

    ask = pb.Ask(tenant="globex")
    told = await keys.target.ask("TenantUnary", ask, authorization="", metadata=[("x-api-key", keys.good)])
    assert (told.code.name, reason_of(told.trailers).reason) == ("PERMISSION_DENIED", "TENANT_DENIED")


async def test_a_key_is_refused_where_keys_are_not_accepted(target: Target, keys: Keys) -> None:
    for authorization in ("", f"Bearer {target.token()}"):
        metadata = [("x-api-key", keys.good)]
        told = await target.knock("Unary", authorization=authorization, metadata=metadata)
        assert reason_of(told.trailers).reason == "CREDENTIAL_NOT_ACCEPTED"


async def test_a_flood_of_guesses_finds_nothing_and_is_remembered_by_nobody(keys: Keys) -> None:
    identities = keys.target.service.server.platform.identities
    assert (await keys.target.ask("Unary", authorization="", metadata=[("x-api-key", keys.good)])).code.name == "OK"
    known, started = len(identities), time.perf_counter()
    key_id = keys.good.partition(".")[0]
    async with keys.target.raw() as connection:
        for number in range(GUESSES):
            metadata = [(b"x-api-key", f"{key_id}.{number:043}".encode())]
            answer = await connection.answer(await connection.call(path_of("Unary").encode(), metadata=metadata))
            assert answer["grpc-status"] == b"16"
    assert time.perf_counter() - started < 30
    assert len(identities) == known
    assert (await keys.target.ask("Unary", authorization="", metadata=[("x-api-key", keys.good)])).code.name == "OK"
