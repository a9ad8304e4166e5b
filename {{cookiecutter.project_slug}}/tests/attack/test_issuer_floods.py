"""Floods that would have us ask the issuer for each call: bogus key ids, guessed tokens; and issuers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from secure_rpc.dev.authority import Authority
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.platform import Application

from support.clocks import until
from support.hostile_tokens import parts_of
from support.https import HttpsServer, Seen, https_server, json_of
from support.probe import path_of
from support.target import AUDIENCE, ISSUER, Target, reason_of, run_target

STORM = 1000


@pytest.fixture
def issuers_server(tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path / "issuer", Authority.create("issuer's CA")) as server:
        yield server


@asynccontextmanager
async def target_with(application: Application, folder: Path, issuer: dict[str, Any]) -> AsyncIterator[Target]:
    """Run a target whose one issuer, beside its own, is spoken to by HTTPS."""
    issuers = [{"issuer": ISSUER, "jwks_file": folder / "dev" / "jwks.json", "audiences": [AUDIENCE]}, issuer]
    async with run_target(application, folder, {"authentication": {"issuers": issuers}}) as target:
        yield target


async def storm(target: Target, tokens: list[str]) -> list[str]:
    """Show many tokens, many at once; return the reasons that the record has."""

    async def show(some: list[str]) -> list[str]:
        reasons = []
        async with target.raw() as connection:
            for token in some:
                metadata = [(b"authorization", f"Bearer {token}".encode())]
                answer = await connection.answer(await connection.call(path_of("Unary").encode(), metadata=metadata))
                reasons.append(answer["correlation-id"].decode())
        return reasons

    shares = [tokens[start::10] for start in range(10)]
    call_ids = {call_id for share in await asyncio.gather(*map(show, shares)) for call_id in share}
    records = {record["call_id"]: record for record in await target.service.audit_records()}
    assert len(call_ids) == len(tokens)
    return [records[call_id]["reason"] for call_id in call_ids]


# --- key ids -------------------------------------------------------------------------------------------------------


@dataclass
class Remote:
    """An issuer whose keys come by HTTPS."""

    issuer: TokenIssuer
    server: HttpsServer

    @property
    def settings(self) -> dict[str, Any]:
        fetch = {"ca_file": self.server.ca_file, "timeout_seconds": 20}
        url = f"{self.server.url}/jwks"
        return {"issuer": self.issuer.issuer, "jwks_url": url, "audiences": [AUDIENCE], "fetch": fetch}

    def bogus(self, number: int) -> str:
        return parts_of(self.issuer).signed({"kid": f"bogus-{number}"})


@pytest.fixture
def remote(issuers_server: HttpsServer) -> Remote:
    made = Remote(TokenIssuer("https://remote.example.org", AUDIENCE), issuers_server)
    issuers_server.answer = lambda _: json_of(made.issuer.jwks())
    return made


async def test_a_storm_of_bogus_key_ids_does_not_reach_the_issuer(
    application: Application, tmp_path: Path, remote: Remote
) -> None:
    async with target_with(application, tmp_path, remote.settings) as target:
        reasons = await storm(target, [remote.bogus(number) for number in range(STORM)])
        assert set(reasons) == {"TOKEN_KEY_UNKNOWN"}
        assert len(remote.server.seen) <= 2  # the first, and one more where the storm takes longer than the interval
        assert await target.is_served()


async def test_a_storm_of_bogus_key_ids_while_the_issuer_is_down_holds_up_nobody_else(
    application: Application, tmp_path: Path, remote: Remote
) -> None:
    remote.server.answer = lambda _: Response(status_code=503)
    async with target_with(application, tmp_path, remote.settings) as target:
        storming = asyncio.create_task(storm(target, [remote.bogus(number) for number in range(200)]))
        served = 0
        while not storming.done():
            assert await target.is_served()
            served += 1
        assert set(await storming) == {"TOKEN_KEYS_UNAVAILABLE"}
        assert served > 5
        assert len(remote.server.seen) <= 2


async def test_an_issuer_that_never_answers_holds_up_its_own_callers_alone_and_not_for_long(
    application: Application, tmp_path: Path, remote: Remote
) -> None:
    async def silent(_: Seen) -> Response:
        await asyncio.sleep(30)
        return Response(status_code=503)

    remote.server.answer = silent
    settings = {**remote.settings, "fetch": {"ca_file": remote.server.ca_file, "timeout_seconds": 0.5}}
    async with target_with(application, tmp_path, settings) as target:
        waiting = asyncio.create_task(storm(target, [remote.bogus(number) for number in range(50)]))
        async with asyncio.timeout(20):
            assert await target.is_served()
            assert set(await waiting) == {"TOKEN_KEYS_UNAVAILABLE"}


async def test_a_redirect_to_keys_of_the_attackers_own_is_not_followed(
    application: Application, tmp_path: Path, remote: Remote
) -> None:
    attacker = TokenIssuer(remote.issuer.issuer, AUDIENCE)

    def redirecting(seen: Seen) -> Response:
        if seen.path == "/jwks":
            return Response(status_code=302, headers={"location": "/attackers"})
        return json_of(attacker.jwks())

    remote.server.answer = redirecting
    async with target_with(application, tmp_path, remote.settings) as target:
        told = await target.knock("Unary", authorization=f"Bearer {parts_of(attacker).signed()}")
        assert (told.code.name, reason_of(told.trailers).reason) == ("UNAVAILABLE", "TOKEN_KEYS_UNAVAILABLE")
        assert {seen.path for seen in remote.server.seen} == {"/jwks"}


async def test_a_key_that_the_issuer_has_retired_is_believed_no_more_not_even_by_memory(
    application: Application, tmp_path: Path, remote: Remote
) -> None:
    """Leaked keys are retired: whoever was verified by one, and is still remembered, must show another token."""
    settings = {**remote.settings, "keys": {"minimum_interval_seconds": 0.05, "refresh_seconds": 0.1}}
    async with target_with(application, tmp_path, settings) as target:
        leaked = parts_of(remote.issuer).signed()
        identities, store = target.service.server.platform.identities, target.service.server.platform.tokens.stores
        told = await target.ask("Unary", authorization=f"Bearer {leaked}")
        assert told.code.name == "PERMISSION_DENIED"  # believed; the policy has nothing for this issuer
        known = len(identities)
        remote.issuer.key, remote.issuer.key_id = TokenIssuer("", "").key, "new"
        await until(lambda: store[remote.issuer.issuer].use.retired)
        assert len(identities) < known
        told = await target.knock("Unary", authorization=f"Bearer {leaked}")
        assert reason_of(told.trailers).reason == "TOKEN_KEY_UNKNOWN"


# --- tokens that say nothing ---------------------------------------------------------------------------------------


@dataclass
class Opaque:
    """An issuer that is asked about its tokens; it knows one."""

    server: HttpsServer
    revoked: bool = False

    def answer(self, seen: Seen) -> Response:
        if seen.form["token"] != "good" or self.revoked:  # noqa: S105  # the one that it knows
            return json_of({"active": False})
        said = {"active": True, "aud": AUDIENCE, "sub": "alice", "iat": 0, "exp": 9_999_999_999}
        return json_of(said)

    def settings(self, **said: Any) -> dict[str, Any]:
        return {
            "issuer": "https://opaque.example.org",
            "audiences": [AUDIENCE],
            "fetch": {"ca_file": self.server.ca_file, "timeout_seconds": 20},
            "introspection": {"url": f"{self.server.url}/introspect", **said},
        }


@pytest.fixture
def opaque(issuers_server: HttpsServer) -> Opaque:
    made = Opaque(issuers_server)
    issuers_server.answer = made.answer
    return made


async def test_a_flood_of_guessed_tokens_finds_nothing_and_fills_no_memory(
    application: Application, tmp_path: Path, opaque: Opaque
) -> None:
    async with target_with(application, tmp_path, opaque.settings(remembered_tokens=50)) as target:
        identities = target.service.server.platform.identities
        [introspector] = target.service.server.platform.tokens.introspectors.values()
        known = len(identities)
        reasons = await storm(target, [f"guess-{number}" for number in range(300)])
        assert set(reasons) == {"TOKEN_INACTIVE"}
        assert len(introspector) <= 50
        assert len(identities) == known
        assert await target.is_served()


async def test_one_guess_shown_again_and_again_is_asked_about_once(
    application: Application, tmp_path: Path, opaque: Opaque
) -> None:
    settings = opaque.settings(negative_cache_seconds=300)
    async with target_with(application, tmp_path, settings) as target:
        assert set(await storm(target, ["guess"] * STORM)) == {"TOKEN_INACTIVE"}
        assert len(opaque.server.seen) == 1


async def test_a_token_that_is_too_large_is_asked_about_by_nobody(
    application: Application, tmp_path: Path, opaque: Opaque
) -> None:
    async with target_with(application, tmp_path, opaque.settings()) as target:
        assert set(await storm(target, ["x" * 8193] * 20)) == {"TOKEN_TOO_LARGE"}
        assert opaque.server.seen == []


async def test_a_forged_jwt_of_a_known_issuer_is_not_asked_about_elsewhere(
    application: Application, tmp_path: Path, opaque: Opaque
) -> None:
    """Else whoever holds a sound certificate could have one issuer see the tokens of another."""
    async with target_with(application, tmp_path, opaque.settings()) as target:
        sound = parts_of(target.service.issuer)
        forged = [sound.signed({"kid": "other"}), sound.signed(claims={"exp": 1}), sound.signed(claims={"iss": "x"})]
        assert set(await storm(target, forged)) == {"TOKEN_KEY_UNKNOWN", "TOKEN_EXPIRED", "TOKEN_ISSUER_UNKNOWN"}
        assert opaque.server.seen == []


async def test_a_revoked_token_is_believed_no_longer_than_the_settings_say(
    application: Application, tmp_path: Path, opaque: Opaque
) -> None:
    async with target_with(application, tmp_path, opaque.settings(cache_seconds=0)) as target:
        told = await target.ask("Unary", authorization="Bearer good")
        assert told.code.name == "PERMISSION_DENIED"  # believed; the policy has nothing for this issuer
        opaque.revoked = True
        told = await target.knock("Unary", authorization="Bearer good")
        assert (told.code.name, reason_of(told.trailers).reason) == ("UNAUTHENTICATED", "TOKEN_INACTIVE")


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_issuer_that_cannot_answer_makes_nobody_believed(
    application: Application, tmp_path: Path, opaque: Opaque, status: int
) -> None:
    opaque.server.answer = lambda _: Response(b'{"active": tru', status)
    async with target_with(application, tmp_path, opaque.settings()) as target:
        told = await target.knock("Unary", authorization="Bearer good")
        reason = reason_of(told.trailers)
        assert (told.code.name, reason.reason) == ("UNAVAILABLE", "TOKEN_INTROSPECTION_UNAVAILABLE")
        assert opaque.server.url not in str(told)
        assert (await target.record_of(told))["subject"] == ""
        assert await target.is_served()
