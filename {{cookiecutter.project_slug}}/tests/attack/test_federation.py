"""A partner's trust domain is let in: its CA and its issuer vouch for the partner's own, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from secure_rpc.dev.authority import Authority, Leaf
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.platform import Application

from support.federation import OURS, THEIRS, authority_under, leaf_under
from support.hostile_tokens import parts_of
from support.target import AUDIENCE, ISSUER, KINDS, POLICY, Target, reason_of, run_target

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALICE = Caller(subject="alice", tenants=("acme",), groups=("callers",))
PARTNER = "https://issuer.partner.example"
OUR_ID, THEIR_ID = f"spiffe://{OURS}/client/developer", f"spiffe://{THEIRS}/client/developer"
POLICY_WITH_PARTNER = POLICY.replace(
    f'[{{ issuer: "{ISSUER}", group: callers }}]',
    f'[{{ issuer: "{ISSUER}", group: callers }}, {{ issuer: "{PARTNER}", group: callers }}]',
)


@dataclass
class Federation:
    """The server, and the partner: a root, an authority under it, an issuer."""

    target: Target
    root: Authority
    under: Authority
    issuer: TokenIssuer

    def theirs(self, uri: str = THEIR_ID) -> Leaf:
        return leaf_under(self.root, uri)

    def of_their_intermediate(self, uri: str) -> Leaf:
        return leaf_under(self.under, uri, chain=self.under.certificate_pem)

    def ours(self) -> Leaf:
        return leaf_under(self.target.service.authority, OUR_ID)

    async def outcome(self, leaf: Leaf, token: str) -> tuple[str, str, str, str]:
        """Return status and reason as the caller has them, reason and workload as the record has them."""
        outcomes = set()
        async with self.target.bare_channel(leaf) as channel:
            for shape in KINDS:
                self.target.forget()
                authorization = f"Bearer {token}" if token else ""
                told = await self.target.knock(shape, authorization=authorization, channel=channel)
                record = await self.target.record_of(told)
                assert (told.messages, record["subject"]) == ([], "")
                reason = reason_of(told.trailers).reason
                outcomes.add((told.code.name, reason, record["reason"], record["workload"]))
        [outcome] = outcomes
        return outcome

    async def is_served(self, leaf: Leaf, token: str) -> bool:
        async with self.target.bare_channel(leaf) as channel:
            told = await self.target.ask("Unary", authorization=f"Bearer {token}", channel=channel)
            return told.code.name == "OK"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def federation(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("federation")
    root, issuer = authority_under(None, "partner"), TokenIssuer(PARTNER, AUDIENCE)
    (folder / "dev").mkdir()
    (folder / "partner.pem").write_bytes(root.certificate_pem)
    issuer.save(folder / "partner.key", folder / "dev" / "partner.json")
    settings: dict[str, Any] = {
        "federated_trust_domains": {THEIRS: {"bundle_file": folder / "partner.pem"}},
        "issuers": [
            {"issuer": ISSUER, "jwks_file": folder / "dev" / "jwks.json", "audiences": [AUDIENCE]},
            {
                "issuer": PARTNER,
                "jwks_file": folder / "dev" / "partner.json",
                "audiences": [AUDIENCE],
                "trust_domain": THEIRS,
            },
        ],
    }
    async with run_target(application, folder, {"authentication": settings}, policy=POLICY_WITH_PARTNER) as target:
        yield Federation(target, root, authority_under(root, "partner's issuer"), issuer)


FOREIGN_CA = ("UNAUTHENTICATED", "TRUST_DOMAIN_UNKNOWN", "TRUST_DOMAIN_FOREIGN_CA", "")


async def test_both_domains_are_served_by_their_own(federation: Federation) -> None:
    ours, theirs = federation.target.token(), federation.issuer.token(ALICE)
    assert await federation.is_served(federation.ours(), ours)
    assert await federation.is_served(federation.theirs(), theirs)
    assert await federation.is_served(federation.of_their_intermediate(THEIR_ID), theirs)


async def test_a_partners_ca_cannot_vouch_for_our_workloads(federation: Federation) -> None:
    for token in (federation.target.token(), federation.issuer.token(ALICE), ""):
        assert await federation.outcome(federation.theirs(OUR_ID), token) == FOREIGN_CA


async def test_a_partners_intermediate_cannot_vouch_for_our_workloads(federation: Federation) -> None:
    leaf = federation.of_their_intermediate(OUR_ID)
    assert await federation.outcome(leaf, federation.target.token()) == FOREIGN_CA


async def test_our_own_cas_certificate_in_the_chain_makes_a_forgery_no_better(federation: Federation) -> None:
    ours = federation.target.service.authority.certificate_pem
    leaf = leaf_under(federation.under, OUR_ID, chain=federation.under.certificate_pem + ours)
    assert await federation.outcome(leaf, federation.target.token()) == FOREIGN_CA


async def test_a_partners_authority_of_our_authoritys_name_is_no_better(federation: Federation) -> None:
    [name] = federation.target.service.authority.certificate.subject
    impostor = authority_under(federation.root, str(name.value))
    leaf = leaf_under(impostor, OUR_ID, chain=impostor.certificate_pem)
    assert await federation.outcome(leaf, federation.target.token()) == FOREIGN_CA


async def test_our_ca_cannot_vouch_for_a_partners_workloads(federation: Federation) -> None:
    leaf = leaf_under(federation.target.service.authority, THEIR_ID)
    assert await federation.outcome(leaf, federation.issuer.token(ALICE)) == FOREIGN_CA


async def test_a_partners_ca_cannot_vouch_for_a_third_domain(federation: Federation) -> None:
    leaf = federation.theirs("spiffe://third.example/client/a")
    outcome = await federation.outcome(leaf, federation.issuer.token(ALICE))
    assert outcome == ("UNAUTHENTICATED", "TRUST_DOMAIN_UNKNOWN", "TRUST_DOMAIN_UNKNOWN", "")


async def test_a_partners_token_is_not_taken_of_our_workloads(federation: Federation) -> None:
    outcome = await federation.outcome(federation.ours(), federation.issuer.token(ALICE))
    assert outcome == ("UNAUTHENTICATED", "TOKEN_INVALID", "TOKEN_FROM_FOREIGN_TRUST_DOMAIN", OUR_ID)


async def test_a_partners_issuer_cannot_speak_for_ours(federation: Federation) -> None:
    for header, reason in (({}, "TOKEN_KEY_UNKNOWN"), ({"kid": key_id(federation)}, "TOKEN_SIGNATURE_WRONG")):
        token = parts_of(federation.issuer).signed(header, {"iss": ISSUER})
        for leaf, workload in ((federation.theirs(), THEIR_ID), (federation.ours(), OUR_ID)):
            outcome = await federation.outcome(leaf, token)
            assert outcome == ("UNAUTHENTICATED", reason, reason, workload)


def key_id(federation: Federation) -> str:
    return federation.target.service.issuer.key_id


async def test_our_issuer_cannot_speak_for_a_partners(federation: Federation) -> None:
    token = parts_of(federation.target.service.issuer).signed(claims={"iss": PARTNER})
    outcome = await federation.outcome(federation.theirs(), token)
    assert outcome == ("UNAUTHENTICATED", "TOKEN_KEY_UNKNOWN", "TOKEN_KEY_UNKNOWN", THEIR_ID)


async def test_the_same_subject_of_two_issuers_is_two_people(federation: Federation) -> None:
    federation.target.forget()
    assert await federation.is_served(federation.theirs(), federation.issuer.token(ALICE))
    record = await federation.target.next_record()
    assert (record["issuer"], record["subject"], record["workload"]) == (PARTNER, "alice", THEIR_ID)
