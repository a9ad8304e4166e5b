"""One development CA follows another, in the three steps that production takes too, so that no call is lost.

The new CA is trusted before it signs anything (add), signs everything before the old one goes (switch), and then the
old one goes (remove).
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority
from secure_rpc.dev.setup import DevelopmentFiles, issue_leaves, new_authorities
from secure_rpc.settings import Settings


class Step(Enum):
    """What is done at a time."""

    ADD = "add"
    SWITCH = "switch"
    REMOVE = "remove"


def next_step(files: DevelopmentFiles) -> Step:
    """Return which step comes next; the first where no rotation is under way."""
    if files.previous_ca_certificate.exists():
        return Step.REMOVE
    return Step.SWITCH if files.next_ca_certificate.exists() else Step.ADD


def rotate(settings: Settings, files: DevelopmentFiles, step: Step) -> str:
    """Take a step.

    Args:
        settings: say where the server's files are.
        files: where the others are.
        step: the one that is due.

    Returns:
        what was done, and what comes next.

    Raises:
        ConfigurationError: another step is due, or the files are not as it needs them; nothing was done.
    """
    due = next_step(files)
    if step is not due:
        raise ConfigurationError(f"--step {step.value}: {_REASONS[due]}; the step that is due is --step {due.value}")
    for file in (settings.tls.certificate_file, settings.tls.key_file, settings.tls.client_ca_file):
        if not files.has(file):
            raise ConfigurationError(f"{file} is not in {files.folder}: only development files are made")
    return {Step.ADD: _add, Step.SWITCH: _switch, Step.REMOVE: _remove}[step](settings, files)


_REASONS = {
    Step.ADD: "no rotation is under way",
    Step.SWITCH: "a new CA is in the bundles, and signs nothing yet",
    Step.REMOVE: "the new CA signs, and the old one is still in the bundles",
}


def _add(settings: Settings, files: DevelopmentFiles) -> str:
    old = _bundle(files.ca_certificate)[0]
    root, issuing = new_authorities(settings)
    issuing.save(files.next_intermediate_certificate, files.next_intermediate_key)
    _write_bundles(settings, files, [old, root.certificate])
    root.save(files.next_ca_certificate, files.next_ca_key)  # last: this says that the step is done
    return "both CAs are trusted now; when all services and clients have taken that up: --step switch"


def _switch(settings: Settings, files: DevelopmentFiles) -> str:
    old, new = _bundle(files.ca_certificate)[0], _bundle(files.next_ca_certificate)[0]
    for file in _bundle_files(settings, files):
        if new not in _bundle(file):
            raise ConfigurationError(f"{file} does not hold the new CA; begin anew by `pki init --renew`")
    issuing = Authority.load(files.next_intermediate_certificate, files.next_intermediate_key)
    issue_leaves(settings, files, issuing)
    _write_bundles(settings, files, [new, old])
    _replace(files.previous_ca_certificate, old.public_bytes(Encoding.PEM))
    files.next_ca_key.replace(files.ca_key)
    files.next_intermediate_key.replace(files.intermediate_key)
    files.next_intermediate_certificate.replace(files.intermediate_certificate)
    files.next_ca_certificate.unlink()
    return "server and client show certificates of the new CA; when nothing shows one of the old: --step remove"


def _remove(settings: Settings, files: DevelopmentFiles) -> str:
    new, old = _bundle(files.ca_certificate)[0], _bundle(files.previous_ca_certificate)[0]
    for file in (settings.tls.certificate_file, files.client_certificate):
        if is_below(_bundle(file), old):
            raise ConfigurationError(f"{file} is still signed by the old CA; renew it first")
    _write_bundles(settings, files, [new])
    files.previous_ca_certificate.unlink()
    return "the old CA is trusted no more; its connections are refused from now on"


def is_below(chain: list[x509.Certificate], authority: x509.Certificate) -> bool:
    """Tell whether the last of a chain was signed by an authority."""
    try:
        chain[-1].verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001  # whatever cryptography finds wrong first
        return False
    return True


def _bundle_files(settings: Settings, files: DevelopmentFiles) -> tuple[Path, ...]:
    return tuple(dict.fromkeys((files.ca_certificate, settings.tls.client_ca_file)))


def _write_bundles(settings: Settings, files: DevelopmentFiles, authorities: list[x509.Certificate]) -> None:
    pem = b"".join(authority.public_bytes(Encoding.PEM) for authority in authorities)
    for file in _bundle_files(settings, files):
        _replace(file, pem)


def _replace(file: Path, content: bytes) -> None:
    """Write a file in one step: a service that reads it meanwhile finds all of the one before."""
    beside = file.with_name(file.name + ".new")
    beside.write_bytes(content)
    beside.replace(file)


def _bundle(file: Path) -> list[x509.Certificate]:
    """Return the certificates of a file.

    Raises:
        ConfigurationError: it cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file}: cannot be read ({error}); make it by `pki init`") from None
