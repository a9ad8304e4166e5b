"""A trust domain's CA vouches for its own workloads: not for ours, whoever it has signed and however long the chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from secure_rpc.call import Peer
from secure_rpc.dev.authority import Authority, Leaf, Request, client_request, server_request
from secure_rpc.identity.certificate import Certificate, NameKind, certificate_reader

from support.federation import OURS, THEIRS, authority_under, leaf_under


@dataclass(frozen=True)
class Domains:
    """Our authorities and theirs: a root and an intermediate each."""

    our_root: Authority
    our_issuer: Authority
    their_root: Authority
    their_issuer: Authority

    def reader(self, kinds: tuple[NameKind, ...] = (NameKind.SPIFFE,)) -> Callable[[bytes, bytes], Certificate]:
        bundles = {OURS: [self.our_root.certificate], THEIRS: [self.their_root.certificate]}
        return certificate_reader(OURS, bundles, kinds)


@pytest.fixture(scope="module")
def domains() -> Domains:
    ours, theirs = authority_under(None, "our root"), authority_under(None, "their root")
    return Domains(ours, authority_under(ours, "our issuer"), theirs, authority_under(theirs, "their issuer"))


def id_of(domain: str) -> str:
    return f"spiffe://{domain}/client/orders"


def reason(found: Certificate) -> tuple[str, str]:
    assert (found.workload, found.trust_domain) == ("", "")
    assert found.refusal is not None
    return found.refusal.reason, found.refusal.recorded_reason


FOREIGN_CA = ("TRUST_DOMAIN_UNKNOWN", "TRUST_DOMAIN_FOREIGN_CA")


def chain_of(*authorities: Authority) -> bytes:
    return b"".join(authority.certificate_pem for authority in authorities)


@pytest.mark.parametrize("domain", [OURS, THEIRS])
@pytest.mark.parametrize("intermediate", [False, True])
def test_a_workload_is_vouched_for_by_its_own_domains_ca(domains: Domains, domain: str, *, intermediate: bool) -> None:
    root, issuer = (
        (domains.our_root, domains.our_issuer) if domain == OURS else (domains.their_root, domains.their_issuer)
    )
    leaf = leaf_under(issuer if intermediate else root, id_of(domain))
    found = domains.reader()(leaf.certificate_pem, chain_of(issuer) if intermediate else b"")
    assert (found.workload, found.trust_domain, found.refusal) == (id_of(domain), domain, None)


@pytest.mark.parametrize("claimed", [OURS, THEIRS])
@pytest.mark.parametrize("intermediate", [False, True])
def test_no_ca_vouches_for_the_workloads_of_another_domain(
    domains: Domains, claimed: str, *, intermediate: bool
) -> None:
    root, issuer = (
        (domains.their_root, domains.their_issuer) if claimed == OURS else (domains.our_root, domains.our_issuer)
    )
    leaf = leaf_under(issuer if intermediate else root, id_of(claimed))
    read = domains.reader()
    everything = chain_of(domains.our_issuer, domains.their_issuer, domains.our_root, domains.their_root)
    for chain in (b"", chain_of(issuer), chain_of(root), chain_of(issuer, root), everything):
        assert reason(read(leaf.certificate_pem, chain)) == FOREIGN_CA


def test_the_chain_must_be_there_and_be_a_chain(domains: Domains) -> None:
    leaf = leaf_under(domains.our_issuer, id_of(OURS))
    read = domains.reader()
    for chain in (b"", b"no PEM", chain_of(domains.our_root), chain_of(domains.their_issuer), leaf.certificate_pem):
        assert reason(read(leaf.certificate_pem, chain)) == FOREIGN_CA
    assert read(leaf.certificate_pem, leaf.certificate_pem + chain_of(domains.our_issuer)).refusal is None


def test_a_leaf_is_no_intermediate(domains: Domains) -> None:
    """TLS refuses this too; the chain that TLS has found need not be the one that is looked at here."""
    owner = domains.our_root.issue(client_request("orders", OURS))
    key = load_pem_private_key(owner.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signer = Authority(key, x509.load_pem_x509_certificate(owner.certificate_pem))
    forged = leaf_under(signer, f"spiffe://{OURS}/client/admin")
    assert reason(domains.reader()(forged.certificate_pem, owner.certificate_pem)) == FOREIGN_CA


def test_a_ca_whose_key_is_not_for_certificates_vouches_for_nobody(domains: Domains) -> None:
    other = authority_under(domains.our_root, "our CA for something else", may_sign=False)
    leaf = leaf_under(other, id_of(OURS))
    assert reason(domains.reader()(leaf.certificate_pem, chain_of(other))) == FOREIGN_CA


def test_a_foreign_ca_of_our_cas_name_is_still_foreign(domains: Domains) -> None:
    impostor = authority_under(None, "our root")
    leaf = leaf_under(impostor, id_of(OURS))
    assert reason(domains.reader()(leaf.certificate_pem, chain_of(impostor))) == FOREIGN_CA


def test_a_domain_that_is_not_federated_is_nobodys(domains: Domains) -> None:
    for authority in (domains.our_root, domains.their_root):
        leaf = leaf_under(authority, "spiffe://elsewhere.example/a")
        assert reason(domains.reader()(leaf.certificate_pem, b""))[0] == "TRUST_DOMAIN_UNKNOWN"


@pytest.mark.parametrize("kind", [NameKind.DNS, NameKind.COMMON_NAME])
def test_names_without_a_trust_domain_are_vouched_for_by_our_ca_alone(domains: Domains, kind: NameKind) -> None:
    read = domains.reader((kind,))
    for authority, accepted in ((domains.our_root, True), (domains.their_root, False)):
        found = read(leaf_under(authority, dns_names=["client"]).certificate_pem, b"")
        if accepted:
            assert found.workload in {"dns:client", "cn:client"}
        else:
            assert reason(found) == FOREIGN_CA


def test_a_common_name_alone_is_enough_for_the_chain(domains: Domains) -> None:
    leaf = leaf_under(domains.our_root)
    assert domains.reader((NameKind.COMMON_NAME,))(leaf.certificate_pem, b"").workload == "cn:client"


def test_a_certificate_that_has_expired_keeps_its_name_for_the_record(domains: Domains) -> None:
    """Whether it is valid now is asked on each call; the answer here is remembered."""
    begin = datetime.now(UTC) - timedelta(hours=2)
    leaf = leaf_under(domains.our_root, id_of(OURS), not_before=begin, lifetime=timedelta(hours=1))
    found = domains.reader()(leaf.certificate_pem, b"")
    assert (found.workload, found.not_after_seconds) == (id_of(OURS), int((begin + timedelta(hours=1)).timestamp()))


def test_one_leaf_under_two_chains_is_judged_by_each(domains: Domains) -> None:
    leaf, read = leaf_under(domains.our_issuer, id_of(OURS)), domains.reader()
    assert reason(read(leaf.certificate_pem, b"")) == FOREIGN_CA
    assert read(leaf.certificate_pem, chain_of(domains.our_issuer)).refusal is None
    assert reason(read(leaf.certificate_pem, b"")) == FOREIGN_CA


# --- what gRPC tells of a chain ----------------------------------------------------------------------------------


async def handshake(client: Leaf, server: Leaf, roots: bytes, server_root: bytes) -> dict[str, list[bytes]]:
    """Return what a real server is told of a client."""
    told: dict[str, list[bytes]] = {}

    async def answer(_request: bytes, context: Any) -> bytes:
        told.update(context.auth_context())
        return b""

    handler = grpc.method_handlers_generic_handler("told.v1.Told", {"Ask": grpc.unary_unary_rpc_method_handler(answer)})
    running = grpc.aio.server()
    running.add_generic_rpc_handlers((handler,))
    pair = (server.key_pem, server.certificate_pem)
    port = running.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], roots, require_client_auth=True))
    await running.start()
    credentials = grpc.ssl_channel_credentials(server_root, client.key_pem, client.certificate_pem)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        call: Any = channel.unary_unary("/told.v1.Told/Ask")
        await call(b"", timeout=10)
    await running.stop(None)
    return told


async def test_grpc_tells_the_chain_that_the_client_has_sent(domains: Domains) -> None:
    server = domains.our_root.issue(server_request("orders", OURS))
    roots = chain_of(domains.our_root, domains.their_root)
    for issuer, domain in ((domains.our_issuer, OURS), (domains.their_issuer, THEIRS)):
        client = leaf_under(issuer, id_of(domain), chain=chain_of(issuer))
        told = await handshake(client, server, roots, chain_of(domains.our_root))
        [pem], [chain_pem] = told["x509_pem_cert"], told["x509_pem_cert_chain"]
        assert x509.load_pem_x509_certificate(pem).subject != issuer.certificate.subject
        assert x509.load_pem_x509_certificates(chain_pem) == [issuer.certificate]
        assert domains.reader()(pem, chain_pem).workload == id_of(domain)
    liar = leaf_under(domains.their_issuer, id_of(OURS), chain=chain_of(domains.their_issuer))
    told = await handshake(liar, server, roots, chain_of(domains.our_root))  # TLS has let it in
    [pem], [chain_pem] = told["x509_pem_cert"], told["x509_pem_cert_chain"]
    assert reason(domains.reader()(pem, chain_pem)) == FOREIGN_CA


async def test_grpc_tells_of_no_chain_where_there_is_no_intermediate(domains: Domains) -> None:
    server = domains.our_root.issue(server_request("orders", OURS))
    client = domains.our_root.issue(Request("orders", uris=[id_of(OURS)]))
    told = await handshake(client, server, chain_of(domains.our_root), chain_of(domains.our_root))
    peer = Peer("", told)
    assert "x509_pem_cert_chain" not in told
    assert peer.chain_pem == b""
    assert domains.reader()(peer.certificate_pem, peer.chain_pem).refusal is None
