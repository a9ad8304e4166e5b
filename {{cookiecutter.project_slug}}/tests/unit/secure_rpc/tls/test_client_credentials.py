"""A client's files are judged before they are used: gRPC would open a channel with most of these."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.tls.client_credentials import ClientCertificate, load

NAMES = ("client.pem", "client.key", "ca.pem")


class Files:
    """The three files of a client, sound until a test damages them."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create("test CA")
        self.certificate, self.key, self.ca = (folder / name for name in NAMES)
        self.ca.write_bytes(self.authority.certificate_pem)
        self.authority.issue(client_request("developer", "test")).write(self.certificate, self.key)

    def load(self) -> ClientCertificate:
        return load(self.certificate, self.key, self.ca)

    def problem(self) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.load()
        [told] = caught.value.problems
        return told


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_sound_files_are_taken_as_they_are(files: Files) -> None:
    loaded = files.load()
    assert (loaded.chain_pem, loaded.key_pem) == (files.certificate.read_bytes(), files.key.read_bytes())
    assert loaded.ca_pem == files.ca.read_bytes()
    assert len(loaded.authorities) == 1
    assert loaded.expired() == ""
    loaded.grpc_credentials()


def test_the_key_is_not_shown(files: Files) -> None:
    assert "PRIVATE" not in repr(files.load())


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    files.key.write_bytes(files.authority.issue(client_request("other", "test")).key_pem)
    assert files.problem() == f"{files.key} does not belong to the certificate in {files.certificate}"


def test_a_key_that_needs_a_password_is_refused(files: Files) -> None:
    key = load_pem_private_key(files.key.read_bytes(), password=None)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    assert files.problem().startswith(f"{files.key} is no key that can be read: Password was not given")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_holds_something_else_is_refused(files: Files, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else")
    assert files.problem().startswith(f"{tmp_path / name} ")


def test_what_has_expired_is_said_with_its_time(files: Files) -> None:
    loaded = files.load()
    end = datetime.fromtimestamp(loaded.not_after_seconds, UTC)
    assert loaded.expired(lambda: loaded.not_after_seconds - 1) == ""
    assert (
        loaded.expired(lambda: loaded.not_after_seconds)
        == f"the certificate expired {end:%Y-%m-%d %H:%M} UTC; renew it"
    )


def test_one_authority_that_has_not_expired_is_enough(files: Files) -> None:
    past = Authority.create("old CA", datetime.now(UTC) - timedelta(days=1000))
    files.ca.write_bytes(past.certificate_pem + files.authority.certificate_pem)
    assert files.load().expired() == ""
    files.ca.write_bytes(past.certificate_pem)
    assert files.load().expired().startswith("every CA expired ")
