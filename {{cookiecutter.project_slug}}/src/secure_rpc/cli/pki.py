"""The commands about certificates: pki init, renew, status, rotate-ca, revoke, unrevoke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
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
from secure_rpc.identity import deny_list, shared_revocations
from secure_rpc.identity.deny_list import Revocation
from secure_rpc.settings import Settings
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.redis import Store
from secure_rpc.state.versioned_hash import VersionedHash
from secure_rpc.trust import REVOCATIONS

PATIENCE_SECONDS = 3.0  # a person waits longer for the store than a call does

Serial = Annotated[str, typer.Option(help="Of a certificate, hexadecimal.")]
SpiffeId = Annotated[str, typer.Option(help="Of a workload.")]
Subject = Annotated[str, typer.Option(help='Of an issuer\'s tokens; "*" for everybody, in an emergency.')]
TokenId = Annotated[str, typer.Option(help="The `jti` of an issuer's token.")]
IssuerOption = Annotated[str, typer.Option(help="Of the certificate or the token; the only one if empty.")]
Shared = Annotated[bool, typer.Option("--shared", help="On the list that all replicas share, not in a file.")]


def commands(_application_module: str = "") -> typer.Typer:
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

    @pki.command("renew")
    def pki_renew(config: Config = default_config, folder: Folder = development.FOLDER) -> None:
        """Issue the server's and the developer's certificate anew, by the development CA that there is."""
        with told_to_people():
            development.renew(settings_module.load(config), DevelopmentFiles(folder))
            typer.echo(f"new certificates of server and client in {folder}; what runs takes them up by itself")

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
        serial: Serial = "",
        spiffe_id: SpiffeId = "",
        subject: Subject = "",
        token_id: TokenId = "",
        issuer: IssuerOption = "",
        reason: Annotated[str, typer.Option(help="For those who read the list.")] = "",
        until: Annotated[datetime | None, typer.Option(help="UTC; when the credential itself ends, say.")] = None,
        shared: Shared = False,  # noqa: FBT002
        config: Config = default_config,
        folder: Folder = development.FOLDER,
    ) -> None:
        """Put a credential on the deny-list; running services refuse it within a second."""
        with told_to_people():
            settings = settings_module.load(config)
            named = {"serial": serial, "spiffe_id": spiffe_id, "subject": subject, "token_id": token_id}
            said = {**named, "issuer": issuer, "reason": reason, "until": until and until.replace(tzinfo=UTC)}
            revocation = _revocation(settings, folder, said, "pki revoke")
            if shared:
                place = "the list that all replicas share"
                is_new = _with_shared(settings, lambda items: shared_revocations.share(items, revocation))
            else:
                place = str(_deny_list(settings))
                is_new = deny_list.revoke(_deny_list(settings), revocation)
            typer.echo(f"{_name_of(revocation)} {'is' if is_new else 'was already'} on {place}")

    @pki.command("unrevoke")
    def pki_unrevoke(
        serial: Serial = "",
        spiffe_id: SpiffeId = "",
        subject: Subject = "",
        token_id: TokenId = "",
        issuer: IssuerOption = "",
        shared: Shared = False,  # noqa: FBT002
        config: Config = default_config,
        folder: Folder = development.FOLDER,
    ) -> None:
        """Take a credential from the deny-list; running services take it again within a second."""
        with told_to_people():
            settings = settings_module.load(config)
            named = {"serial": serial, "spiffe_id": spiffe_id, "subject": subject, "token_id": token_id}
            revocation = _revocation(settings, folder, {**named, "issuer": issuer}, "pki unrevoke")
            if shared:
                place = "the list that all replicas share"
                was_there = _with_shared(settings, lambda items: shared_revocations.take_back(items, revocation))
            else:
                place = str(_deny_list(settings))
                was_there = deny_list.take_back(_deny_list(settings), revocation)
            typer.echo(f"{_name_of(revocation)} {'is taken from' if was_there else 'was not on'} {place}")

    return pki


def _name_of(revocation: Revocation) -> str:
    if revocation.subject == deny_list.EVERYBODY:
        return f"everybody of {revocation.issuer}"
    return revocation.entry().name


def _revocation(settings: Settings, folder: Path, said: Mapping[str, object], command: str) -> Revocation:
    """Return what is to be revoked.

    Raises:
        ConfigurationError: the options do not say it.
    """
    stated = {key: value for key, value in said.items() if value}
    if "spiffe_id" not in stated and "issuer" not in stated:
        stated["issuer"] = _only_issuer(settings, DevelopmentFiles(folder), command, of_tokens="serial" not in stated)
    try:
        return Revocation.model_validate(stated)
    except ValidationError as error:
        raise explain(error, Revocation, lambda _: command) from None


def _deny_list(settings: Settings) -> Path:
    file = settings.revocation.deny_list_file
    if file is None:
        raise ConfigurationError("revocation.deny_list_file: is not set; name a file there")
    return file


def _with_shared(settings: Settings, work: Callable[[VersionedHash], Awaitable[bool]]) -> bool:
    """Do something with what the replicas share.

    Raises:
        ConfigurationError: the store cannot be reached, or nothing is shared.
    """
    if settings.state is None:
        raise ConfigurationError("state: is not set; name the store that the replicas share there")
    patient = settings.state.model_copy(update={"timeout_seconds": PATIENCE_SECONDS})
    store = Store(patient, settings.service.name)

    async def do() -> bool:
        try:
            return await work(VersionedHash(store, REVOCATIONS))
        finally:
            await store.close()

    try:
        return asyncio.run(do())
    except StoreUnavailable as error:
        raise ConfigurationError(f"state.redis_url: {error}; nothing may have been written, so try again") from None


def _only_issuer(settings: Settings, files: DevelopmentFiles, command: str, *, of_tokens: bool) -> str:
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
    raise ConfigurationError(f"{command}: say whose it is by --issuer")
