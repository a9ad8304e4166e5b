"""When other CAs are trusted, callers are verified anew by them, and the metrics tell what is in use."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry

from secure_rpc import errors
from secure_rpc.call import Peer
from secure_rpc.dev.authority import Authority, Request, client_request
from secure_rpc.dev.rotation import Step, rotate
from secure_rpc.dev.setup import DevelopmentFiles, prepare
from secure_rpc.identity.principal import Credential, Identities, Shown
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.live import LiveStreams
from secure_rpc.settings import Settings
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.trust import Trust

EXPIRY = "secure_rpc_certificate_not_after_timestamp_seconds"


class World:
    """A server's trust, and callers."""

    def __init__(self, folder: Path) -> None:
        self.files = DevelopmentFiles(folder)
        self.partner, self.partner_file = Authority.create("partner"), folder / "partner.pem"
        self.crl = folder / "ca.crl"
        folder.mkdir()
        self.partner_file.write_bytes(self.partner.certificate_pem)
        data: dict[str, Any] = {
            "service": {"name": "orders"},
            "tls": {
                "certificate_file": folder / "server.pem",
                "key_file": folder / "server.key",
                "client_ca_file": folder / "ca.pem",
            },
            "authentication": {
                "trust_domain": "example.org",
                "credentials": "certificate",
                "federated_trust_domains": {"partner.example": {"bundle_file": self.partner_file}},
            },
            "authorization": {"policy_file": "policy.yaml"},
            "audit": {"file": folder / "audit.log"},
        }
        prepare(Settings(**data), self.files)
        self.own = Authority.load(self.files.ca_certificate, self.files.ca_key)
        self.crl.write_bytes(self.partner.revocation_list([]))
        self.settings = Settings.model_validate(data | {"revocation": {"crl_files": [self.crl]}})
        self.metrics = Metrics()
        self.trust = Trust(self.settings, self.metrics, LiveStreams())
        self.identities = Identities(
            self.trust.certificate_reader(),
            TokenVerifier(()),
            None,
            {Credential.CERTIFICATE},
            revocations=self.trust.revocations,
        )
        self.trust._identities = self.identities

    async def outcome(self, authority: Authority, domain: str = "example.org") -> str:
        shown = Shown(authority.issue(client_request("a", domain)).certificate_pem, b"", "", "")
        return await self.outcome_of(shown)

    async def outcome_of(self, shown: Shown) -> str:
        try:
            known = self.identities.known(shown)
            principal = known or await self.identities.verify(shown)
        except errors.StatusError as error:
            return error.recorded_reason
        return principal.workload

    def ends(self) -> dict[str, float]:
        self.metrics.render()
        registry: CollectorRegistry = self.metrics.registry
        return {
            sample.labels["certificate"]: sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == EXPIRY
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "dev")


async def test_a_ca_that_is_gone_vouches_for_nobody_and_one_that_is_new_does(world: World) -> None:
    leaf = world.own.issue(client_request("a", "example.org"))
    shown = Shown(leaf.certificate_pem, b"", "", "")
    assert await world.outcome_of(shown) == "spiffe://example.org/client/a"
    assert len(world.identities) == 1
    rotate(world.settings, world.files, Step.ADD)
    assert await world.trust.certificates.reload()
    assert len(world.identities) == 0
    assert await world.outcome_of(shown) == "spiffe://example.org/client/a"
    for step in (Step.SWITCH, Step.REMOVE):
        rotate(world.settings, world.files, step)
        assert await world.trust.certificates.reload()
    assert await world.outcome_of(shown) == "CERTIFICATE_UNTRUSTED"
    assert world.identities.workload_of(Peer("", {"x509_pem_cert": [leaf.certificate_pem]})) == ""
    new = Authority.load(world.files.ca_certificate, world.files.ca_key)
    assert await world.outcome(new) == "spiffe://example.org/client/a"


async def test_a_new_leaf_alone_forgets_nobody(world: World) -> None:
    await world.outcome(world.own)
    before = world.identities._certificate_of
    assert await world.trust.certificates.reload()
    assert world.identities._certificate_of is before
    assert len(world.identities) == 1


async def test_the_bundle_of_a_federated_domain_is_followed_too_and_the_lists_of_its_ca(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    partner = "partner.example"
    assert await world.outcome(world.partner, partner) == f"spiffe://{partner}/client/a"
    other = Authority.create("partner")
    world.partner_file.write_bytes(other.certificate_pem)
    world.crl.write_bytes(other.revocation_list([7]))  # by a key that is not known yet
    assert not await world.trust.revocations.reload()
    with caplog.at_level(logging.INFO):
        assert await world.trust.certificates.reload()
    assert await world.outcome(world.partner, partner) == "CERTIFICATE_UNTRUSTED"
    assert await world.outcome(other, partner) == f"spiffe://{partner}/client/a"
    assert await world.outcome(other) == "TRUST_DOMAIN_FOREIGN_CA"
    assert world.trust.revocations.count()["crl"] == 1


async def test_a_certificate_that_names_nobody_needs_a_ca_of_now_all_the_same(world: World) -> None:
    world.identities._accepted = frozenset({Credential.TOKEN})
    peers = {
        authority: Peer("", {"x509_pem_cert": [authority.issue(Request("a")).certificate_pem]})
        for authority in (world.own, world.partner)
    }
    for peer in peers.values():
        world.identities.check_certificate(peer)
    world.partner_file.write_bytes(Authority.create("another").certificate_pem)
    world.crl.write_bytes(world.own.revocation_list([]))
    assert await world.trust.certificates.reload()
    world.identities.check_certificate(peers[world.own])
    with pytest.raises(errors.Unauthenticated) as caught:
        world.identities.check_certificate(peers[world.partner])
    assert caught.value.reason == "CERTIFICATE_UNTRUSTED"


async def test_each_certificate_in_use_has_its_end_in_the_metrics_and_none_that_is_gone(world: World) -> None:
    def expected() -> dict[str, float]:
        leaf, issuing = x509.load_pem_x509_certificates(world.settings.tls.certificate_file.read_bytes())
        own = x509.load_pem_x509_certificates(world.files.ca_certificate.read_bytes())
        authorities = [*own, world.partner.certificate]
        named = {("chain", issuing), *(("ca", each) for each in authorities)}
        return {
            "server": leaf.not_valid_after_utc.timestamp(),
            "client_ca": min(each.not_valid_after_utc.timestamp() for each in authorities),
            **{
                f"{kind} {each.subject.rfc4514_string()} {each.serial_number:x}": each.not_valid_after_utc.timestamp()
                for kind, each in named
            },
        }

    assert world.ends() == expected()
    for step in Step:
        rotate(world.settings, world.files, step)
        assert await world.trust.certificates.reload()
        assert world.ends() == expected()
    assert len(world.ends()) == 5


def test_what_peers_make_up_is_no_label(world: World) -> None:
    for group, count in ((b"X25519", 2), (b"made up", 1), (b"\xff", 1), (b"", 1)):
        for _ in range(count):
            world.trust.negotiated(Peer("", {"ssl_negotiated_key_exchange_group": [group]}))
    world.trust.negotiated(Peer("", {}))
    value = world.metrics.registry.get_sample_value
    name = "secure_rpc_tls_key_exchange_groups_total"
    assert {group: value(name, {"group": group}) for group in ("X25519", "other", "unknown", "made up")} == {
        "X25519": 2, "other": 2, "unknown": 2, "made up": None,
    }  # fmt: skip
