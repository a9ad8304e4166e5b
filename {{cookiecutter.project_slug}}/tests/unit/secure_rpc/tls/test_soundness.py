"""Certificates that gRPC would start with, and serve nobody by, are refused by name and remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Leaf, Request
from secure_rpc.tls.soundness import Place, check_authority, check_chain, check_leaf, key_kind

from support.hostile_certificates import signed_by_sha1

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PLACE = Place("tls.certificate_file", Path("server.pem"))


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.create("root", NOW, path_length=1)


def request(**said: Any) -> Request:
    usual = {"not_before": NOW, "dns_names": ["localhost"], "usages": [ExtendedKeyUsageOID.SERVER_AUTH]}
    return Request("orders", **{**usual, **said})


def parsed(leaf: Leaf) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(leaf.certificate_pem)


def problem(check: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check()
    return str(caught.value)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()),
            rsa.generate_private_key(65537, 2048)], ids=["P-256", "P-384", "RSA"],
)  # fmt: skip
def test_keys_that_grpc_serves_with_are_taken(root: Authority, key: Any) -> None:
    check_leaf(PLACE, parsed(root.issue(request(key=key)))[0], NOW.timestamp())


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ec.generate_private_key(ec.SECP521R1()), "P-521"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (rsa.generate_private_key(65537, 1024), "RSA 1024"),  # noqa: S505  # that is what is refused
    ],
    ids=["P-521", "secp256k1", "Ed25519", "RSA-1024"],
)
def test_keys_that_fail_every_handshake_or_are_weak_are_refused(root: Authority, key: Any, kind: str) -> None:
    leaf = parsed(root.issue(request(key=key)))[0]
    assert key_kind(leaf) == kind
    told = problem(lambda: check_leaf(PLACE, leaf, NOW.timestamp()))
    assert told.startswith(
        f"tls.certificate_file: server.pem: the key of 'CN=orders' is {kind}, with which gRPC cannot"
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"is_ca": True}, "is a CA's; a server shows a certificate of its own"),
        ({"dns_names": []}, "has no subject alternative name"),
        ({"usages": [ExtendedKeyUsageOID.CLIENT_AUTH]}, "is not for servers"),
        ({"not_before": NOW + timedelta(hours=1)}, "is not valid before 2026-06-01 01:00 UTC; wait"),
        ({"not_before": NOW - timedelta(days=2), "lifetime": timedelta(days=1)}, "expired 2026-05-31 00:00 UTC"),
    ],
)
def test_a_leaf_that_no_client_would_accept_is_refused(root: Authority, said: dict[str, Any], told: str) -> None:
    leaf = parsed(root.issue(request(**said)))[0]
    assert told in problem(lambda: check_leaf(PLACE, leaf, NOW.timestamp()))


@pytest.mark.parametrize("usages", [[], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]])
def test_a_leaf_that_does_not_say_what_it_is_for_is_taken(root: Authority, usages: list[Any]) -> None:
    check_leaf(PLACE, parsed(root.issue(request(usages=usages)))[0], NOW.timestamp())


def test_a_signature_by_a_broken_hash_is_refused() -> None:
    now = datetime.now(UTC)
    leaf = parsed(signed_by_sha1(Authority.create("root", now)))[0]
    assert "is signed by way of a hash that is broken" in problem(lambda: check_leaf(PLACE, leaf, now.timestamp()))


def test_a_chain_leads_from_the_leaf_to_a_known_ca_or_to_one_that_is_not_known(root: Authority) -> None:
    issuing = root.intermediate("issuing")
    chain = parsed(issuing.issue(request()))
    assert [each.subject.rfc4514_string() for each in chain] == ["CN=orders", "CN=issuing"]
    assert check_chain(PLACE, chain, [root.certificate], NOW.timestamp())
    assert check_chain(PLACE, [*chain, root.certificate], [root.certificate], NOW.timestamp())
    assert check_chain(PLACE, chain, [issuing.certificate], NOW.timestamp())
    assert not check_chain(PLACE, chain, [Authority.create("other").certificate], NOW.timestamp())
    assert not check_chain(PLACE, chain[:1], [root.certificate], NOW.timestamp())


def test_a_chain_that_is_none_is_refused(root: Authority) -> None:
    leaf, issuing = parsed(root.intermediate("issuing").issue(request()))
    other = root.intermediate("issuing")
    for chain in ([leaf, other.certificate], [leaf, root.certificate], [leaf, leaf], [issuing, leaf, issuing]):
        told = problem(lambda chain=chain: check_chain(PLACE, chain, [root.certificate], NOW.timestamp()))  # type: ignore[misc]
        assert "is not signed by what follows it" in told
    key = ec.generate_private_key(ec.SECP256R1())
    [signer] = parsed(root.issue(request(key=key)))
    [forged] = parsed(Authority(key, signer).issue(request()))
    told = problem(lambda: check_chain(PLACE, [forged, signer], [root.certificate], NOW.timestamp()))
    assert "is not signed by what follows it" in told  # no leaf may sign
    late = NOW + timedelta(days=400)
    assert "'CN=issuing' expired" in problem(
        lambda: check_chain(PLACE, [leaf, issuing], [root.certificate], late.timestamp())
    )


def test_a_chain_that_names_a_known_ca_and_is_not_signed_by_it_is_refused(root: Authority) -> None:
    leaf = parsed(Authority.create("root", NOW).issue(request()))
    told = problem(lambda: check_chain(PLACE, leaf, [root.certificate], NOW.timestamp()))
    assert "'CN=orders' is not signed by the CA that it names, 'CN=root', as tls.client_ca_file has it" in told


def test_bundles_hold_cas_with_keys_that_can_be_verified_by(root: Authority) -> None:
    check_authority(PLACE, root.certificate, NOW.timestamp())
    check_authority(PLACE, parsed(root.issue(request(is_ca=True, key=ec.generate_private_key(ec.SECP521R1()))))[0],
                    NOW.timestamp())  # fmt: skip
    leaf = parsed(root.issue(request()))[0]
    assert "is no CA's; bundles hold CAs alone" in problem(lambda: check_authority(PLACE, leaf, NOW.timestamp()))
    weak = parsed(root.issue(request(is_ca=True, key=rsa.generate_private_key(65537, 1024))))[0]  # noqa: S505
    assert "is RSA 1024" in problem(lambda: check_authority(PLACE, weak, NOW.timestamp()))
