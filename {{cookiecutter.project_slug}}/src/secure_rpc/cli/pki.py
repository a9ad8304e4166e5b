"""The commands about certificates: pki init, status, rotate-ca, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from cryptography import x509
from pydantic import ValidationError

from secure_rpc import settings as settings_module
from secure_rpc.cli.certificates import show_status
from secure_rpc.cli.people import Config, Folder, default_config, told_to_people
from secure_rpc.configuration import ConfigurationError, explain
from secure_rpc.dev import setup as development
from secure_rpc.dev.rotation import Step, rotate
from secure_rpc.dev.setup import DevelopmentFiles
from secure_rpc.identity.deny_list import Revocation, revoke
from secure_rpc.settings import Settings


def pki_commands() -> typer.Typer:
    """Return the commands about certificates."""
    pki = typer.Typer(no_args_is_help=True)

    @pki.command("init")
    def pki_init(
        config: Config = default_config,
        folder: Folder = development.FOLDER,
        renew: Annotated[bool, typer.Option(help="Make them anew, even if they are valid.")] = False,  # noqa: FBT002
    ) -> None:
        """Make the CA, certificates and token keys of a developer's machine, where they are missing or soon expire."""
        with told_to_people():
            settings = settings_module.load(config)
            made = development.prepare(settings, DevelopmentFiles(folder), renew=renew)
            typer.echo(f"development certificates {'made' if made else 'found'} in {folder}")

    @pki.command("status")
    def pki_status(config: Config = default_config, folder: Folder = development.FOLDER) -> None:
        """Show every certificate in use and what to do next. Exits with 1 where one is due, expired or not sound."""
        with told_to_people():
            if not show_status(settings_module.load(config), DevelopmentFiles(folder)):
                raise typer.Exit(1)

    @pki.command("rotate-ca")
    def pki_rotate_ca(
        step: Annotated[Step, typer.Option(help="One after the other.")],
        config: Config = default_config,
        folder: Folder = development.FOLDER,
    ) -> None:
        """Have a new development CA follow the old one, without losing a call."""
        with told_to_people():
            typer.echo(rotate(settings_module.load(config), DevelopmentFiles(folder), step))

    @pki.command("revoke")
    def pki_revoke(  # noqa: PLR0913, PLR0917  # each is an option
        serial: Annotated[str, typer.Option(help="Of a certificate, hexadecimal.")] = "",
        spiffe_id: Annotated[str, typer.Option(help="Of a workload.")] = "",
        subject: Annotated[str, typer.Option(help="Of an issuer's tokens.")] = "",
        token_id: Annotated[str, typer.Option(help="The `jti` of an issuer's token.")] = "",
        issuer: Annotated[str, typer.Option(help="Of the certificate or the token; the only one if empty.")] = "",
        reason: Annotated[str, typer.Option(help="For those who read the list.")] = "",
        until: Annotated[datetime | None, typer.Option(help="UTC; when the credential itself ends, say.")] = None,
        config: Config = default_config,
        folder: Folder = development.FOLDER,
    ) -> None:
        """Put a credential on the deny-list; running services refuse it within a second."""
        with told_to_people():
            settings = settings_module.load(config)
            named = {"serial": serial, "spiffe_id": spiffe_id, "subject": subject, "token_id": token_id}
            named = {kind: name for kind, name in named.items() if name}
            if not spiffe_id and not issuer:
                issuer = _only_issuer(settings, DevelopmentFiles(folder), of_tokens=not serial)
            said = {**named, "issuer": issuer, "reason": reason, "until": until and until.replace(tzinfo=UTC)}
            try:
                revocation = Revocation.model_validate(said)
            except ValidationError as error:
                raise explain(error, Revocation, lambda _: "pki revoke") from None
            file = settings.revocation.deny_list_file
            if file is None:
                raise ConfigurationError("revocation.deny_list_file: is not set; name a file there")
            is_new = revoke(file, revocation)
            typer.echo(f"{' '.join(named.values())} {'is' if is_new else 'was already'} on {file}")

    return pki


def _only_issuer(settings: Settings, files: DevelopmentFiles, *, of_tokens: bool) -> str:
    """Return the issuer that needs no name.

    Raises:
        ConfigurationError: there is none, or more than one.
    """
    if of_tokens:
        issuers = [issuer.issuer for issuer in settings.authentication.issuers]
        if len(issuers) == 1:
            return issuers[0]
    elif files.intermediate_certificate.exists():
        pem = files.intermediate_certificate.read_bytes()
        return x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
    raise ConfigurationError("pki revoke: say whose it is by --issuer")
