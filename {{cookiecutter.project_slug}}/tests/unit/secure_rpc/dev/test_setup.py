"""What a developer's machine needs is made once, in its folder and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.dev.issuer import Caller
from secure_rpc.dev.setup import DevelopmentFiles, prepare, renew, replace_token_key, token_issuer
from secure_rpc.errors import Unauthenticated
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.settings import Settings
from secure_rpc.tls import credentials
from secure_rpc.trust import server_files


def settings_in(folder: Path, **said: Any) -> Settings:
    usual: dict[str, Any] = {
        "service": {"name": "orders"},
        "tls": {
            "certificate_file": folder / "server.pem",
            "key_file": folder / "server.key",
            "client_ca_file": folder / "ca.pem",
        },
        "authentication": {
            "trust_domain": "example.org",
            "issuers": [
                {"issuer": "https://issuer.example.org", "jwks_file": folder / "jwks.json", "audiences": ["orders"]}
            ],
        },
        "authorization": {"policy_file": "policy.yaml"},
        "audit": {"file": folder / "audit.log"},
    }
    return Settings(**(usual | said))


@pytest.fixture
def files(tmp_path: Path) -> DevelopmentFiles:
    return DevelopmentFiles(tmp_path / "dev")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_that_a_service_needs_is_made(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    assert prepare(settings, files)
    assert set(contents(files.folder)) == {
        *(
            "ca.pem",
            "ca.key",
            "intermediate.pem",
            "intermediate.key",
            "server.pem",
            "server.key",
            "client.pem",
            "client.key",
            "edge.pem",
            "edge.key",
            "issuer.key",
            "jwks.json",
        ),
    }
    assert credentials.load(server_files(settings))
    issuer = token_issuer(settings, files)
    TokenVerifier(settings.authentication.issuers)
    assert issuer.issuer == "https://issuer.example.org"
    client = x509.load_pem_x509_certificate(files.client_certificate.read_bytes())
    issuing = x509.load_pem_x509_certificate(files.intermediate_certificate.read_bytes())
    client.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca_certificate.read_bytes()))


def test_the_folder_and_its_keys_are_for_their_owner_alone(files: DevelopmentFiles) -> None:
    prepare(settings_in(files.folder), files)
    assert files.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files.folder.glob("*.key")} == {0o600}


def test_what_is_there_is_not_made_again(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    before = contents(files.folder)
    assert not prepare(settings, files)
    assert contents(files.folder) == before


def test_all_is_made_anew_where_that_is_asked(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    before = contents(files.folder)
    assert prepare(settings, files, renew=True)
    after = contents(files.folder)
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in before)


@pytest.mark.parametrize(
    "name", ["ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key", "issuer.key", "jwks.json"]
)
def test_a_file_that_is_lost_is_made_again(files: DevelopmentFiles, name: str) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    (files.folder / name).unlink()
    assert prepare(settings, files)
    assert (files.folder / name).exists()


def test_a_certificate_that_ends_soon_is_made_again(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    authority = Authority.load(files.ca_certificate, files.ca_key)
    for days, made in ((15, False), (13, True)):
        leaf = authority.issue(Request("orders", lifetime=timedelta(days=days)))
        leaf.write(settings.tls.certificate_file, settings.tls.key_file)
        assert prepare(settings, files) is made


@pytest.mark.parametrize("place", ["certificate_file", "key_file", "client_ca_file", "jwks_file", "../server.pem"])
def test_files_outside_of_the_folder_are_not_made(files: DevelopmentFiles, tmp_path: Path, place: str) -> None:
    data = settings_in(files.folder).model_dump()
    outside = files.folder / place if "/" in place else tmp_path / "production.pem"
    if place == "jwks_file":
        data["authentication"]["issuers"][0][place] = outside
    else:
        data["tls"]["certificate_file" if "/" in place else place] = outside
    with pytest.raises(ConfigurationError) as caught:
        prepare(Settings(**data), files, renew=True)
    assert caught.value.problems == (
        f"{outside} is not in {files.folder}: only development files are made; name others in the settings",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_folder_is_not_followed(files: DevelopmentFiles, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "production.key").write_bytes(b"theirs")
    (tmp_path / "dev" / "server.key").symlink_to(tmp_path / "production.key")
    with pytest.raises(ConfigurationError, match="only development files are made"):
        prepare(settings_in(files.folder), files)
    assert (tmp_path / "production.key").read_bytes() == b"theirs"


def test_without_an_issuer_no_token_can_be_made(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder, authentication={"trust_domain": "example.org", "credentials": "certificate"})
    assert prepare(settings, files)
    assert not files.issuer_key.exists()
    assert not prepare(settings, files)
    with pytest.raises(ConfigurationError, match=r"authentication.issuers: is empty; no token can be made"):
        token_issuer(settings, files)


def test_certificates_are_renewed_by_the_authority_that_there_is(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    before = contents(files.folder)
    renew(settings, files)
    after = contents(files.folder)
    assert {name for name in before if after[name] != before[name]} == {
        "server.pem",
        "server.key",
        "client.pem",
        "client.key",
        "edge.pem",
        "edge.key",
    }
    assert set(after) == set(before)
    credentials.load(server_files(settings))


def test_nothing_is_renewed_without_an_authority_of_ours_or_in_files_of_others(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    with pytest.raises(ConfigurationError, match="make a CA by `pki init`"):
        renew(settings, files)
    with pytest.raises(ConfigurationError, match="only development files are made"):
        renew(settings_in(files.folder.parent / "elsewhere"), files)


async def test_a_token_of_the_key_before_is_believed_no_more(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    caller = Caller(subject="alice")
    old = token_issuer(settings, files).token(caller)
    assert replace_token_key(settings, files).key_id == token_issuer(settings, files).key_id
    verifier = TokenVerifier(settings.authentication.issuers)
    with pytest.raises(Unauthenticated):
        await verifier.verify(old)
    assert (await verifier.verify(token_issuer(settings, files).token(caller))).subject == "alice"
    await verifier.close()
