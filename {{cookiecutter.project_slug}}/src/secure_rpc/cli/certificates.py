"""`pki status`: every certificate in use, how long it lasts, and what is to be done next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import typer
from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.rotation import Step, next_step
from secure_rpc.dev.setup import DevelopmentFiles
from secure_rpc.settings import Settings
from secure_rpc.tls.credentials import certificates, load
from secure_rpc.tls.renewal import renewal_due
from secure_rpc.tls.soundness import Place, is_issued_by, key_kind
from secure_rpc.trust import server_files


class Used(NamedTuple):
    """A certificate and what it is for."""

    role: str
    file: Path
    certificate: x509.Certificate
    said: str = ""  # what is to be done with a CA, beyond its dates


def show_status(settings: Settings, files: DevelopmentFiles, now: datetime | None = None) -> bool:
    """Print every certificate in use; return whether all of them last, and fit together."""
    now = now or datetime.now(UTC)
    problems: list[str] = []
    try:
        load(server_files(settings), now.timestamp)
    except ConfigurationError as error:
        problems += error.problems
    try:
        used = list(used_certificates(settings, files))
    except ConfigurationError as error:
        used, problems = [], [*problems, *(each for each in error.problems if each not in problems)]
    bad = 0
    for each in used:
        step, good = next_step_of(each, now)
        bad += not good
        for line in _lines(each, step, now):
            typer.echo(line)
    for problem in problems:
        typer.echo(f"not sound: {problem}")
    if files.ca_key.exists():
        due = next_step(files)
        under_way = "none is under way" if due is Step.ADD else f"under way, next: pki rotate-ca --step {due.value}"
        typer.echo(f"rotation of the development CA: {under_way}")
    typer.echo(f"{len(used)} certificates, {bad} due or expired")
    return not bad and not problems


def used_certificates(settings: Settings, files: DevelopmentFiles) -> Iterator[Used]:
    """Yield the certificates in use: the server's chain, the bundles, the developer's client.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    places = server_files(settings)
    chains = {"server": _certificates(Place("tls.certificate_file", places.certificate))}
    if files.client_certificate.exists():
        chains["client"] = _certificates(Place("client", files.client_certificate))
    for name, chain in chains.items():
        file = places.certificate if name == "server" else files.client_certificate
        yield Used(f"{name} certificate", file, chain[0])
        for each in chain[1:]:
            yield Used(f"{name} chain", file, each)
    bundle = _certificates(Place("tls.client_ca_file", places.client_ca))
    following = Place("next CA", files.next_ca_certificate)
    coming = _certificates(following) if following.file.exists() else []
    for authority in bundle:
        yield Used("client CA", places.client_ca, authority, _said_of(authority, bundle, chains.values(), coming))
    for domain, file in places.federated.items():
        for authority in _certificates(Place("authentication.federated_trust_domains", file)):
            yield Used(f"CA of {domain}", file, authority)


def next_step_of(used: Used, now: datetime) -> tuple[str, bool]:
    """Return what is to be done with a certificate, and whether that can wait."""
    begin, end = used.certificate.not_valid_before_utc, used.certificate.not_valid_after_utc
    due = renewal_due(used.certificate)
    what = "replace" if " CA" in f" {used.role}" else "renew"
    if end <= now:
        return f"expired {_time(end)}: {what} it now", False
    if begin > now:
        return f"not valid before {_time(begin)}: wait, or {what} it", False
    if due <= now:
        return f"{what} it now, it expires {_time(end)}", False
    return used.said or f"{what} it before {_time(due)}", True


def _said_of(
    authority: x509.Certificate,
    bundle: Sequence[x509.Certificate],
    chains: Iterable[Sequence[x509.Certificate]],
    coming: Sequence[x509.Certificate],
) -> str:
    """Return what is to be done with one CA of several: whether it is on its way in or out."""
    signing = [each for each in bundle if any(is_issued_by(chain[-1], each) for chain in chains)]
    if len(bundle) == 1 or not signing or authority in signing:
        return ""
    if authority in coming or authority.not_valid_before_utc > max(each.not_valid_before_utc for each in signing):
        return "new, signs nothing shown here yet: sign new certificates by it when all who verify have it"
    return "old, signs nothing shown here any more: remove the old CA after the last certificate it signed is renewed"


def _lines(used: Used, step: str, now: datetime) -> Iterator[str]:
    certificate = used.certificate
    end = certificate.not_valid_after_utc
    yield f"{used.role}  {used.file}"
    yield f"  subject  {_printable(certificate.subject.rfc4514_string()) or 'none'}"
    yield f"  names    {', '.join(_names(certificate)) or 'none'}"
    yield f"  issuer   {_printable(certificate.issuer.rfc4514_string())}"
    yield f"  serial   {certificate.serial_number:x}"
    yield f"  key      {key_kind(certificate)}"
    yield f"  valid    {_time(certificate.not_valid_before_utc)} to {_time(end)}, {_lead(end - now)}"
    yield f"  next     {step}"


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [_printable(str(name.value)) for name in names]


def _certificates(place: Place) -> list[x509.Certificate]:
    try:
        return certificates(place, place.file.read_bytes())
    except OSError as error:
        raise place.refuse(f"cannot be read ({error.strerror})") from None


def _lead(left: timedelta) -> str:
    if left <= timedelta():
        return "over"
    return f"{left.days} days left" if left.days else f"{left.seconds // 3600} h {left.seconds // 60 % 60} min left"


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
