"""The deny-list: what is revoked by hand, in a YAML file, until the credential itself has come to its end.

A credential that is not on it may still be revoked by its CA's list (`identity.crl`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from cryptography import x509
from pydantic import AwareDatetime, Field, field_validator, model_validator

from secure_rpc import spiffe
from secure_rpc.configuration import ConfigurationError, Section, read_yaml

HEADER = "# What is revoked, and no longer counts from the moment this file is written; docs/certificates.md\n"
FOR_EVER = float("inf")
EVERYBODY = "*"  # as a subject: all that the issuer has vouched for


class Entry(NamedTuple):
    """What is revoked, flat."""

    kind: str  # "spiffe_id", "subject", "token_id" or "serial"
    issuer: str  # of the token or the certificate
    name: str  # a serial in lower-case hexadecimal digits
    until_seconds: float  # Unix time from which it counts no more


class Revocation(Section):
    """One credential, or all of one holder."""

    spiffe_id: str = ""  # a workload's, whatever certificate it shows
    subject: str = ""  # of the issuer's tokens, "*" for all of them; "api-key" is the issuer of API keys
    token_id: str = ""  # the `jti` of the issuer's token
    serial: str = ""  # of the issuer's certificate, in hexadecimal digits
    issuer: str = ""  # the `iss` of the token, or the name of the certificate's issuer, such as "CN=our CA"
    reason: str = Field(default="", max_length=200)  # for those who read the list
    until: AwareDatetime | date | None = None  # a day (its first moment, UTC), or a time with its zone

    @field_validator("serial", mode="before")
    @classmethod
    def _hexadecimal(cls, serial: object) -> object:
        if not isinstance(serial, str):  # YAML takes 12 for a number, and 1:20 for one of seconds
            raise ValueError('a serial is hexadecimal digits; put it in quotes, such as "3f:a2"')  # noqa: TRY004
        digits = serial.replace(":", "").lower().removeprefix("0x").lstrip("0")
        if (serial and not digits) or set(digits) - set("0123456789abcdef"):
            raise ValueError('a serial is hexadecimal digits, such as "3f:a2"')
        return digits

    @field_validator("issuer")
    @classmethod
    def _as_openssl_writes(cls, issuer: str) -> str:
        return issuer if "://" in issuer else re.sub(r"(?<!\\),\s+", ",", issuer)

    @field_validator("spiffe_id")
    @classmethod
    def _grammar(cls, name: str) -> str:
        return str(spiffe.parse(name)) if name else ""

    @field_validator("until", mode="before")
    @classmethod
    def _has_a_zone(cls, value: object) -> object:
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError('a time needs its zone, such as "Z"; or write a day alone')
        return value

    @model_validator(mode="after")
    def _names_one_thing(self) -> Revocation:
        if len(self._named()) != 1:
            raise ValueError('name one of "spiffe_id", "subject", "token_id" and "serial"')
        if bool(self.issuer) == bool(self.spiffe_id):
            raise ValueError('"issuer" goes with "subject", "token_id" and "serial": others may use the same name')
        if self.serial:
            try:
                x509.Name.from_rfc4514_string(self.issuer)
            except ValueError:
                raise ValueError('the issuer of a certificate is a name such as "CN=our CA,O=us"') from None
        return self

    def entry(self) -> Entry:
        """Return it, flat."""
        [(kind, name)] = self._named().items()
        issuer = x509.Name.from_rfc4514_string(self.issuer).rfc4514_string() if self.serial else self.issuer
        until = self.until
        if until is None:
            return Entry(kind, issuer, name, FOR_EVER)
        if not isinstance(until, datetime):
            until = datetime.combine(until, time_of_day(), UTC)
        return Entry(kind, issuer, name, until.timestamp())

    def _named(self) -> dict[str, str]:
        kinds = ("spiffe_id", "subject", "token_id", "serial")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}


class DenyListFile(Section):
    """The file."""

    version: Literal[1]  # of this format
    revoked: tuple[Revocation, ...] = ()


class DenyList:
    """Look up what is revoked.

    Args:
        entries: all of it.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._until: dict[tuple[str, str, str], float] = {}
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in further entries."""
        for kind, issuer, name, until_seconds in entries:
            key = (kind, issuer, name)
            self._until[key] = max(until_seconds, self._until.get(key, 0.0))

    def has(self, kind: str, issuer: str, name: str, now_seconds: float) -> bool:
        """Tell whether something is revoked now."""
        until_seconds = self._until.get((kind, issuer, name))
        return until_seconds is not None and now_seconds < until_seconds

    def keys(self) -> frozenset[tuple[str, str, str]]:
        """Return kind, issuer and name of all that is on it."""
        return frozenset(self._until)

    def __len__(self) -> int:
        """Return how much is on it."""
        return len(self._until)


def read(path: Path) -> tuple[Revocation, ...]:
    """Read a deny-list.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    return read_yaml(path).validated(DenyListFile).revoked


def write(path: Path, revoked: Sequence[Revocation]) -> None:
    """Write a deny-list, in one step: who reads it meanwhile finds the one before.

    Raises:
        ConfigurationError: it cannot be written.
    """
    listed = [entry.model_dump(mode="json", exclude_defaults=True) for entry in revoked]
    content = HEADER + yaml.safe_dump({"version": 1, "revoked": listed}, sort_keys=False, allow_unicode=True)
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror}); check the path") from None


def revoke(path: Path, revocation: Revocation, now_seconds: float | None = None) -> bool:
    """Add to a deny-list, which is made if it is not there; what has come to its end is taken out.

    Returns:
        whether it was not on it before.

    Raises:
        ConfigurationError: the list is wrong, or cannot be written.
    """
    now = time.time() if now_seconds is None else now_seconds
    before = read(path) if path.exists() else ()
    kept = [each for each in before if each.entry().until_seconds > now]
    is_new = revocation.entry()[:3] not in {each.entry()[:3] for each in kept}
    write(path, [*(each for each in kept if each.entry()[:3] != revocation.entry()[:3]), revocation])
    return is_new


def take_back(path: Path, revocation: Revocation) -> bool:
    """Take something from a deny-list; return whether it was on it.

    Raises:
        ConfigurationError: the list is wrong, or cannot be written.
    """
    before = read(path) if path.exists() else ()
    kept = [each for each in before if each.entry()[:3] != revocation.entry()[:3]]
    if len(kept) < len(before):
        write(path, kept)
    return len(kept) < len(before)
