"""Everything a service needs to run on a developer's machine, in one folder that git does not see."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request, server_request
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity import deny_list
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
        self.ca_certificate = folder / "ca.pem"  # a bundle; the CA that signs comes first
        self.ca_key = folder / "ca.key"
        self.intermediate_certificate = folder / "intermediate.pem"
        self.intermediate_key = folder / "intermediate.key"
        # while a CA follows another
        self.next_ca_certificate = folder / "next-ca.pem"
        self.next_ca_key = folder / "next-ca.key"
        self.next_intermediate_certificate = folder / "next-intermediate.pem"
        self.next_intermediate_key = folder / "next-intermediate.key"
        self.previous_ca_certificate = folder / "previous-ca.pem"
        self.client_certificate = folder / "client.pem"
        self.client_key = folder / "client.key"
        self.edge_certificate = folder / "edge.pem"  # what browsers see, and what the service knows the edge by
        self.edge_key = folder / "edge.key"
        self.issuer_key = folder / "issuer.key"

    def has(self, file: Path) -> bool:
        """Tell whether a file is in the folder, and so ours to make."""
        return file.resolve().is_relative_to(self.folder.resolve())

    @property
    def of_rotation(self) -> tuple[Path, ...]:
        """Return the files that are there only while a CA follows another."""
        following = (self.next_ca_key, self.next_intermediate_certificate, self.next_intermediate_key)
        return (self.next_ca_certificate, self.previous_ca_certificate, *following)


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
    _check_are_ours(wanted, files)
    needed = [*wanted, files.ca_certificate, files.ca_key, files.client_certificate, files.client_key]
    needed += [files.intermediate_certificate, files.intermediate_key, files.edge_certificate, files.edge_key]
    own = _own_issuer(settings, files)
    needed += [files.issuer_key] if own else []
    listed = settings.revocation.deny_list_file
    if listed is not None and files.has(listed) and not listed.exists():
        listed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        deny_list.write(listed, ())
    if not renew and all(map(Path.exists, needed)) and not _expires_soon(settings.tls.certificate_file):
        return False
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in files.of_rotation:
        file.unlink(missing_ok=True)
    root, issuing = new_authorities(settings)
    root.save(files.ca_certificate, files.ca_key)
    issuing.save(files.intermediate_certificate, files.intermediate_key)
    if settings.tls.client_ca_file != files.ca_certificate:
        settings.tls.client_ca_file.write_bytes(root.certificate_pem)
    issue_leaves(settings, files, issuing)
    if own and own.jwks_file:
        TokenIssuer(own.issuer, own.audiences[0]).save(files.issuer_key, own.jwks_file)
    return True


def renew(settings: Settings, files: DevelopmentFiles) -> None:
    """Have the CA that there is issue the certificates of the server and of the developer's client anew.

    Raises:
        ConfigurationError: there is no such CA, or the files are not ours to make.
    """
    _check_are_ours((settings.tls.certificate_file, settings.tls.key_file), files)
    if not files.intermediate_key.exists():
        raise ConfigurationError(f"{files.intermediate_key} is not there; make a CA by `pki init`")
    issue_leaves(settings, files, Authority.load(files.intermediate_certificate, files.intermediate_key))


def replace_token_key(settings: Settings, files: DevelopmentFiles) -> TokenIssuer:
    """Have the development issuer sign by a new key: what the old one signed counts no more.

    Returns:
        the issuer.

    Raises:
        ConfigurationError: the settings name no issuer that is ours to play.
    """
    before, own = token_issuer(settings, files), _own_issuer(settings, files)
    made = TokenIssuer(before.issuer, before.audience)
    if own and own.jwks_file:
        made.save(files.issuer_key, own.jwks_file)
    return made


def new_authorities(settings: Settings) -> tuple[Authority, Authority]:
    """Return a new root, and the intermediate below it that signs leaves."""
    name = settings.service.name
    root = Authority.create(f"{name} development CA", path_length=1)
    return root, root.intermediate(f"{name} development issuing CA")


def issue_leaves(settings: Settings, files: DevelopmentFiles, issuing: Authority) -> None:
    """Write new certificates of the server, of the edge before it, and of the developer's client."""
    name, trust_domain = settings.service.name, settings.authentication.trust_domain
    issuing.issue(server_request(name, trust_domain)).write(settings.tls.certificate_file, settings.tls.key_file)
    issuing.issue(server_request("edge", trust_domain)).write(files.edge_certificate, files.edge_key)
    issuing.issue(client_request("developer", trust_domain)).write(files.client_certificate, files.client_key)


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


def _check_are_ours(wanted: Iterable[Path], files: DevelopmentFiles) -> None:
    for file in wanted:
        if not files.has(file):
            raise ConfigurationError(
                f"{file} is not in {files.folder}: only development files are made; name others in the settings"
            )


def _own_issuer(settings: Settings, files: DevelopmentFiles) -> Issuer | None:
    """Return the issuer that is ours to play: the first whose keys are in the folder."""
    for issuer in settings.authentication.issuers:
        if issuer.jwks_file and files.has(issuer.jwks_file):
            return issuer
    return None


def _expires_soon(certificate_file: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    return certificate.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE
