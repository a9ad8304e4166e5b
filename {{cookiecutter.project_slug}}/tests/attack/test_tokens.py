"""Tokens that nobody should believe, and claims that make nobody of their bearer."""

from __future__ import annotations

import pytest

from probe.v1 import probe_pb2 as pb
from support.hostile_certificates import SOUND_ID
from support.hostile_claims import CLAIMS
from support.hostile_tokens import ALGORITHMS, FORMS, KEYS, Attack, claims_of, parts_of
from support.target import KINDS, Target, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
ATTACKS = ALGORITHMS | KEYS | FORMS | CLAIMS
ON_ALL_KINDS = ("alg none", "HS256 by the public key in PEM", "signature empty", "claims altered", "exp past")


async def refuse(target: Target, shape: str, token: str, reason: str) -> None:
    """Fail if the token is believed, if the caller is told more than needed, or if the audit is told less."""
    begun = target.begun
    told = await target.knock(shape, authorization=f"Bearer {token}")
    assert (told.code.name, told.details, told.messages) == ("UNAUTHENTICATED", "the token is not accepted", [])
    rich = reason_of(told.trailers)
    assert (rich.reason, len(rich.details), dict(rich.details[0].metadata)) == (reason, 1, {})
    record = await target.record_of(told)
    assert (record["code"], record["reason"], record["workload"]) == ("UNAUTHENTICATED", reason, SOUND_ID)
    assert (record["issuer"], record["subject"], record["proofs"], record["tenant"]) == ("", "", [], "")
    assert token not in str(record)
    assert target.begun == begun


async def test_the_token_that_they_are_made_from_is_sound(target: Target) -> None:
    assert (
        await target.ask("Unary", authorization=f"Bearer {parts_of(target.service.issuer).signed()}")
    ).code.name == "OK"


@pytest.mark.parametrize(("forge", "reason"), ATTACKS.values(), ids=ATTACKS)
async def test_a_token_is_not_believed_however_often_it_is_shown(target: Target, forge: Attack, reason: str) -> None:
    token = forge(parts_of(target.service.issuer))
    for _ in range(2):
        await refuse(target, "Unary", token, reason)


@pytest.mark.parametrize("name", ON_ALL_KINDS)
async def test_a_token_is_believed_by_no_kind_of_method(target: Target, name: str) -> None:
    forge, reason = ATTACKS[name]
    for shape in KINDS:
        await refuse(target, shape, forge(parts_of(target.service.issuer)), reason)


async def test_a_token_that_was_believed_is_refused_once_it_has_expired(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = target.token()
    assert (await target.ask("Unary", authorization=f"Bearer {token}")).code.name == "OK"
    later = claims_of(token)["exp"] + 31  # the leeway is 30 s
    identities = target.service.server.platform.identities
    [known] = [principal for key, principal in identities._known.items() if key.authorization == f"Bearer {token}"]
    assert known.until_seconds < later
    monkeypatch.setattr(identities, "_clock", lambda: later)
    misses = identities.use.misses
    await target.ask("Unary", authorization=f"Bearer {token}")
    assert identities.use.misses == misses + 1, "an expired principal was remembered"


async def test_a_token_without_groups_or_tenants_may_do_nothing(target: Target) -> None:
    parts = parts_of(target.service.issuer)
    told = await target.ask("Unary", authorization=f"Bearer {parts.signed(claims={'groups': None})}")
    assert (told.code.name, reason_of(told.trailers).reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    for tenant in ("acme", "globex"):
        ask = pb.Ask(tenant=tenant)
        told = await target.ask("TenantUnary", ask, authorization=f"Bearer {parts.signed(claims={'tenant': None})}")
        assert (told.code.name, reason_of(told.trailers).reason) == ("PERMISSION_DENIED", "TENANT_DENIED")
