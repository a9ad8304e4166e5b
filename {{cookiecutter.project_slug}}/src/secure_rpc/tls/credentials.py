"""Credentials of a server, read from files and judged before they are used.

gRPC starts with a key that does not fit, an expired certificate or an empty CA bundle, and then refuses everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from secure_rpc.configuration import ConfigurationError
from secure_rpc.tls.soundness import Place, check_authority, check_chain, check_leaf
from secure_rpc.watching import read_together


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Where a server's credentials are, PEM."""

    certificate: Path  # the leaf, then its intermediates
    key: Path  # the leaf's, not encrypted
    client_ca: Path  # the CAs whose clients are let in
    federated: Mapping[str, Path] = field(default_factory=dict)  # those of other trust domains, by their name

    @property
    def places(self) -> tuple[Place, ...]:
        """Return each file with the setting that names it."""
        federated = (Place("authentication.federated_trust_domains", file) for file in self.federated.values())
        return (
            Place("tls.certificate_file", self.certificate),
            Place("tls.key_file", self.key),
            Place("tls.client_ca_file", self.client_ca),
            *federated,
        )


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server shows, and whom it trusts."""

    chain: tuple[x509.Certificate, ...]  # the leaf first
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    client_ca_pem: bytes  # all bundles together
    authorities: tuple[x509.Certificate, ...]  # our own bundle
    federated: Mapping[str, tuple[x509.Certificate, ...]]  # the others, by trust domain
    is_signed_by_known: bool  # whether one of our bundle's CAs vouches for the chain

    @property
    def not_after_seconds(self) -> float:
        """Return the Unix time at which the leaf expires."""
        return self.chain[0].not_valid_after_utc.timestamp()

    @property
    def ca_not_after_seconds(self) -> float:
        """Return the Unix time at which the first of the CAs expires."""
        return min(authority.not_valid_after_utc.timestamp() for authority in self.all_authorities())

    def all_authorities(self) -> Iterator[x509.Certificate]:
        """Yield the CAs of all bundles."""
        yield from self.authorities
        for bundle in self.federated.values():
            yield from bundle

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return what gRPC is handed; each one that it takes invalidates the session tickets given out before."""
        return grpc.ssl_server_certificate_configuration([(self.key_pem, self.chain_pem)], self.client_ca_pem)


def load(files: ServerFiles, clock: Callable[[], float] = time.time) -> ServerCertificate:
    """Read and judge a server's credentials, all of one version.

    Args:
        files: where they are.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: a file is missing or malformed, the key does not fit, the chain leads nowhere, something
            is out of its time, weak, or not what gRPC can serve with.
    """
    certificate_place, key_place, ca_place, *federated_places = files.places
    contents = _read(files.places)
    now = clock()
    chain = certificates(certificate_place, contents[files.certificate])
    authorities = certificates(ca_place, contents[files.client_ca])
    _check_key(key_place, contents[files.key], files.certificate, chain[0])
    check_leaf(certificate_place, chain[0], now)
    for authority in authorities:
        check_authority(ca_place, authority, now)
    is_signed_by_known = check_chain(certificate_place, chain, authorities, now)
    federated = {}
    for name, place in zip(files.federated, federated_places, strict=True):
        federated[name] = tuple(certificates(place, contents[place.file]))
        for authority in federated[name]:
            check_authority(place, authority, now)
    return ServerCertificate(
        chain=tuple(chain),
        chain_pem=contents[files.certificate],
        key_pem=contents[files.key],
        client_ca_pem=b"\n".join(contents[place.file] for place in (ca_place, *federated_places)),
        authorities=tuple(authorities),
        federated=federated,
        is_signed_by_known=is_signed_by_known,
    )


def certificates(place: Place, pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM text.

    Raises:
        ConfigurationError: there is none, or one is malformed.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError(f"{place.setting}: {place.file} holds no certificate that can be read: {error}") from (
            None
        )


def _check_key(place: Place, pem: bytes, certificate_file: Path, leaf: x509.Certificate) -> None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{place.setting}: {place.file} is no key that can be read: {error}") from None
    if key.public_key() != leaf.public_key():
        raise ConfigurationError(
            f"{place.setting}: {place.file} does not belong to the certificate in {certificate_file}"
        )


def _read(places: tuple[Place, ...]) -> dict[Path, bytes]:
    """Return what the files hold."""
    try:
        return read_together(place.file for place in places)
    except OSError as error:
        [setting] = {place.setting for place in places if str(place.file) == str(error.filename)}
        raise ConfigurationError(
            f"{setting}: {error.filename} cannot be read ({error.strerror}); run `make setup`, or mount it"
        ) from None
