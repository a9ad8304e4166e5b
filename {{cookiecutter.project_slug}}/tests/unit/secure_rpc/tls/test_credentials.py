"""A server's files are judged before they are used: gRPC would start with most of these, and refuse everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Request, server_request
from secure_rpc.tls.credentials import ServerCertificate, ServerFiles, load

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SERVER_AUTH = [ExtendedKeyUsageOID.SERVER_AUTH]


def request(**said: Any) -> Request:
    return Request("orders", **{"not_before": NOW, "dns_names": ["localhost"], "usages": SERVER_AUTH, **said})


@dataclass
class Files:
    """The three files of a server, sound until a test damages them."""

    folder: Path

    def __post_init__(self) -> None:
        self.authority = Authority.create("test CA", NOW)
        self.certificate, self.key, self.ca = (self.folder / name for name in ("server.pem", "server.key", "ca.pem"))
        self.ca.write_bytes(self.authority.certificate_pem)
        self.federated: dict[str, Path] = {}
        self.issue(request())

    def issue(self, request: Request) -> None:
        self.authority.issue(request).write(self.certificate, self.key)

    def load(self, now: datetime = NOW) -> ServerCertificate:
        return load(ServerFiles(self.certificate, self.key, self.ca, self.federated), now.timestamp)

    def problem(self, now: datetime = NOW) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.load(now)
        [told] = caught.value.problems
        return told.replace(f"{self.folder}/", "")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def end_of(pem: bytes) -> float:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def test_sound_files_are_taken(files: Files) -> None:
    found = files.load()
    assert found.chain_pem == files.certificate.read_bytes()
    assert found.key_pem == files.key.read_bytes()
    assert found.client_ca_pem == files.ca.read_bytes()
    assert found.not_after_seconds == end_of(found.chain_pem)
    assert found.ca_not_after_seconds == end_of(found.client_ca_pem)
    assert found.configuration() is not None


def test_the_first_certificate_of_a_chain_is_the_one_that_counts(files: Files) -> None:
    leaf = files.certificate.read_bytes()
    files.certificate.write_bytes(leaf + files.authority.certificate_pem)
    assert files.load().not_after_seconds == end_of(leaf)
    files.certificate.write_bytes(files.authority.certificate_pem + leaf)
    assert files.problem() == "tls.key_file: server.key does not belong to the certificate in server.pem"


def test_the_ca_that_ends_first_is_told(files: Files) -> None:
    old = Authority.create("old CA", NOW - timedelta(days=100)).certificate_pem
    files.ca.write_bytes(files.authority.certificate_pem + old)
    assert files.load().ca_not_after_seconds == end_of(old)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("server.pem", "tls.certificate_file"), ("server.key", "tls.key_file"), ("ca.pem", "tls.client_ca_file")],
)
def test_a_missing_file_is_told(files: Files, name: str, setting: str) -> None:
    (files.folder / name).unlink()
    assert files.problem() == (
        f"{setting}: {name} cannot be read (No such file or directory); run `make setup`, or mount it"
    )


@pytest.mark.parametrize(
    ("name", "setting"), [("server.pem", "tls.certificate_file"), ("ca.pem", "tls.client_ca_file")]
)
@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ids=["empty", "blank", "text", "garbage"],
)
def test_a_file_without_a_certificate_is_refused(files: Files, name: str, setting: str, content: bytes) -> None:
    (files.folder / name).write_bytes(content)
    assert files.problem().startswith(f"{setting}: {name} holds no certificate that can be read: ")


def test_a_key_in_place_of_a_certificate_is_refused(files: Files) -> None:
    files.certificate.write_bytes(files.key.read_bytes())
    assert files.problem().startswith("tls.certificate_file: server.pem holds no certificate that can be read: ")


@pytest.mark.parametrize("content", [b"", b"no PEM", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_read_is_refused(files: Files, content: bytes) -> None:
    files.key.write_bytes(content)
    assert files.problem().startswith("tls.key_file: server.key is no key that can be read: ")


def test_an_encrypted_key_is_refused(files: Files) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.key.write_bytes(sealed)
    assert files.problem().startswith("tls.key_file: server.key is no key that can be read: ")


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    other = files.authority.issue(server_request("other", "example.org"))
    files.key.write_bytes(other.key_pem)
    assert files.problem() == "tls.key_file: server.key does not belong to the certificate in server.pem"


def leaf_ends(files: Files) -> str:
    files.issue(request(lifetime=timedelta(hours=1)))
    return "tls.certificate_file: server.pem: 'CN=orders' expired 2026-06-01 01:00 UTC; renew it"


def one_of_two_cas_ends(files: Files) -> str:
    old = Authority.create("old CA", NOW - timedelta(days=365) + timedelta(hours=1))
    files.ca.write_bytes(files.authority.certificate_pem + old.certificate_pem)
    return "tls.client_ca_file: ca.pem: 'CN=old CA' expired 2026-06-01 01:00 UTC; renew it"


@pytest.mark.parametrize("prepare", [leaf_ends, one_of_two_cas_ends])
def test_what_has_expired_is_refused_from_that_second_on(files: Files, prepare: Callable[[Files], str]) -> None:
    told, end = prepare(files), NOW + timedelta(hours=1)
    assert files.load(end - timedelta(seconds=1))
    assert files.problem(end) == told


# --- those of other trust domains ------------------------------------------------------------------------------


def federated(files: Files, now: datetime = NOW) -> Authority:
    files.federated = {"partner.example": files.folder / "partner.pem"}
    made = Authority.create("partner CA", now)
    files.federated["partner.example"].write_bytes(made.certificate_pem)
    return made


def test_the_cas_of_federated_trust_domains_are_let_in_too(files: Files) -> None:
    partner = federated(files)
    loaded = x509.load_pem_x509_certificates(files.load().client_ca_pem)
    assert loaded == [files.authority.certificate, partner.certificate]


def test_a_federated_ca_that_has_expired_is_told_by_its_own_name_and_file(files: Files) -> None:
    federated(files, NOW - timedelta(days=400))
    told = files.problem()
    assert told.startswith("authentication.federated_trust_domains: partner.pem: 'CN=partner CA' expired ")
    assert told.endswith("; renew it")


@pytest.mark.parametrize("content", [b"", b"no PEM"])
def test_a_federated_bundle_without_a_certificate_is_refused(files: Files, content: bytes) -> None:
    federated(files)
    files.federated["partner.example"].write_bytes(content)
    assert files.problem().startswith("authentication.federated_trust_domains: partner.pem holds no certificate")
