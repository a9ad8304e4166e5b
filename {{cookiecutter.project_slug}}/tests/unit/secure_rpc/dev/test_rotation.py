"""One development CA follows another in three steps, each of which leaves everything able to talk to everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.dev.rotation import Step, next_step, rotate
from secure_rpc.dev.setup import DevelopmentFiles, prepare
from secure_rpc.settings import Settings
from secure_rpc.tls.credentials import load
from secure_rpc.trust import server_files


def settings_in(folder: Path, bundle: str = "ca.pem") -> Settings:
    return Settings.model_validate(
        {
            "service": {"name": "orders"},
            "tls": {
                "certificate_file": folder / "server.pem",
                "key_file": folder / "server.key",
                "client_ca_file": folder / bundle,
            },
            "authentication": {"trust_domain": "example.org", "credentials": "certificate"},
            "authorization": {"policy_file": "policy.yaml"},
            "revocation": {"deny_list_file": folder / "deny.yaml"},
            "audit": {"file": folder / "audit.log"},
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> DevelopmentFiles:
    return DevelopmentFiles(tmp_path / "dev")


def bundle(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes())


def signed_by(file: Path, authority: x509.Certificate) -> bool:
    leaf, issuing = bundle(file)
    leaf.verify_directly_issued_by(issuing)
    try:
        issuing.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001  # whatever is wrong first
        return False
    return True


@pytest.mark.parametrize("name", ["ca.pem", "clients.pem"])
def test_the_new_ca_is_trusted_before_it_signs_and_the_old_one_until_it_does_not(
    files: DevelopmentFiles, name: str
) -> None:
    settings = settings_in(files.folder, name)
    prepare(settings, files)
    bundles = {files.ca_certificate, settings.tls.client_ca_file}
    leaves = (settings.tls.certificate_file, files.client_certificate)
    [old] = bundle(files.ca_certificate)

    rotate(settings, files, Step.ADD)
    first, new = bundle(files.ca_certificate)
    assert first == old
    assert all(bundle(file) == [old, new] for file in bundles)
    assert all(signed_by(file, old) for file in leaves)
    assert load(server_files(settings)).is_signed_by_known

    rotate(settings, files, Step.SWITCH)
    assert all(bundle(file) == [new, old] for file in bundles)
    assert all(signed_by(file, new) for file in leaves)
    assert load(server_files(settings)).is_signed_by_known
    assert Authority.load(files.ca_certificate, files.ca_key).certificate == new
    leaf = Authority.load(files.intermediate_certificate, files.intermediate_key).issue(client_request("a", "b"))
    x509.load_pem_x509_certificates(leaf.certificate_pem)[1].verify_directly_issued_by(new)

    rotate(settings, files, Step.REMOVE)
    assert all(bundle(file) == [new] for file in bundles)
    assert load(server_files(settings)).is_signed_by_known
    assert not any(file.exists() for file in files.of_rotation)
    assert not prepare(settings, files)
    rotate(settings, files, Step.ADD)  # and so on


def test_a_step_out_of_its_order_is_refused_and_changes_nothing(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    reasons = {
        Step.ADD: "no rotation is under way",
        Step.SWITCH: "a new CA is in the bundles, and signs nothing yet",
        Step.REMOVE: "the new CA signs, and the old one is still in the bundles",
    }
    for due, reason in reasons.items():
        assert next_step(files) is due
        before = {file: file.read_bytes() for file in files.folder.iterdir()}
        for step in set(Step) - {due}:
            with pytest.raises(ConfigurationError) as caught:
                rotate(settings, files, step)
            assert str(caught.value) == f"--step {step.value}: {reason}; the step that is due is --step {due.value}"
        assert {file: file.read_bytes() for file in files.folder.iterdir()} == before
        rotate(settings, files, due)


def test_the_old_ca_is_not_removed_while_something_shows_a_certificate_of_it(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    rotate(settings, files, Step.ADD)
    old = {file: file.read_bytes() for file in (files.client_certificate, files.client_key)}
    rotate(settings, files, Step.SWITCH)
    for file, content in old.items():
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"client\.pem is still signed by the old CA; renew it first"):
        rotate(settings, files, Step.REMOVE)
    assert len(bundle(files.ca_certificate)) == 2


def test_a_bundle_that_lost_the_new_ca_stops_the_switch(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    rotate(settings, files, Step.ADD)
    files.ca_certificate.write_bytes(Authority.create("other").certificate_pem)
    with pytest.raises(ConfigurationError, match="does not hold the new CA"):
        rotate(settings, files, Step.SWITCH)


def test_certificates_of_production_are_not_touched(files: DevelopmentFiles, tmp_path: Path) -> None:
    prepare(settings_in(files.folder), files)
    elsewhere = settings_in(tmp_path / "production")
    with pytest.raises(ConfigurationError, match="only development files are made"):
        rotate(elsewhere, files, Step.ADD)


def test_making_everything_anew_ends_a_rotation(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    prepare(settings, files)
    rotate(settings, files, Step.ADD)
    prepare(settings, files, renew=True)
    assert next_step(files) is Step.ADD
    assert len(bundle(files.ca_certificate)) == 1


def test_a_deny_list_is_made_where_it_is_missing_and_left_where_it_is(files: DevelopmentFiles) -> None:
    settings = settings_in(files.folder)
    assert prepare(settings, files)
    listed = files.folder / "deny.yaml"
    assert "revoked: []" in listed.read_text()
    listed.write_text("version: 1\n")
    assert prepare(settings, files, renew=True)
    assert listed.read_text() == "version: 1\n"
