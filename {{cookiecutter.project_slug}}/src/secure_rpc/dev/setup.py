"""Everything a service needs to run on a developer's machine, in one folder that git does not see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request, server_request
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity.issuer import Issuer
from secure_rpc.settings import Settings

FOLDER = Path(".dev")
RENEW_BEFORE = timedelta(days=14)


class DevelopmentFiles:
    """Where each file of the folder is.

    Args:
        folder: theirs.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.ca_certificate = folder / "ca.pem"
        self.ca_key = folder / "ca.key"
        self.client_certificate = folder / "client.pem"
        self.client_key = folder / "client.key"
        self.issuer_key = folder / "issuer.key"


def prepare(settings: Settings, files: DevelopmentFiles, *, renew: bool = False) -> bool:
    """Make the CA, certificates and token keys that the settings name, where they are missing or soon expire.

    Args:
        settings: say where the server's files are, its name, trust domain and issuer.
        files: where the others go.
        renew: make them anew in any case.

    Returns:
        whether anything was made.

    Raises:
        ConfigurationError: the settings name files outside of the folder: those are not ours to make.
    """
    issuers = settings.authentication.issuers
    wanted = [settings.tls.certificate_file, settings.tls.key_file, settings.tls.client_ca_file]
    wanted += [issuer.jwks_file for issuer in issuers if issuer.jwks_file]
    for file in wanted:
        if not file.resolve().is_relative_to(files.folder.resolve()):
            raise ConfigurationError(
                f"{file} is not in {files.folder}: only development files are made; name others in the settings"
            )
    needed = [*wanted, files.ca_certificate, files.ca_key, files.client_certificate, files.client_key]
    own = _own_issuer(settings, files)
    needed += [files.issuer_key] if own else []
    if not renew and all(map(Path.exists, needed)) and not _expires_soon(settings.tls.certificate_file):
        return False
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name, trust_domain = settings.service.name, settings.authentication.trust_domain
    authority = Authority.create(f"{name} development CA")
    authority.save(files.ca_certificate, files.ca_key)
    if settings.tls.client_ca_file != files.ca_certificate:
        settings.tls.client_ca_file.write_bytes(authority.certificate_pem)
    authority.issue(server_request(name, trust_domain)).write(settings.tls.certificate_file, settings.tls.key_file)
    authority.issue(client_request("developer", trust_domain)).write(files.client_certificate, files.client_key)
    if own and own.jwks_file:
        TokenIssuer(own.issuer, own.audiences[0]).save(files.issuer_key, own.jwks_file)
    return True


def token_issuer(settings: Settings, files: DevelopmentFiles) -> TokenIssuer:
    """Return the development issuer.

    Raises:
        ConfigurationError: the settings name none, or its key is not there.
    """
    if not settings.authentication.issuers:
        raise ConfigurationError("authentication.issuers: is empty; no token can be made")
    issuer = _own_issuer(settings, files)
    if issuer is None:
        raise ConfigurationError(
            f"authentication.issuers: none has its jwks_file in {files.folder}; no token can be made"
        )
    return TokenIssuer.load(issuer.issuer, issuer.audiences[0], files.issuer_key)


def _own_issuer(settings: Settings, files: DevelopmentFiles) -> Issuer | None:
    """Return the issuer that is ours to play: the first whose keys are in the folder."""
    folder = files.folder.resolve()
    for issuer in settings.authentication.issuers:
        if issuer.jwks_file and issuer.jwks_file.resolve().is_relative_to(folder):
            return issuer
    return None


def _expires_soon(certificate_file: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    return certificate.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE
