"""Whom the service believes, in time: certificates, CAs and revocations, joined to identities and streams."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cryptography import x509
from prometheus_client import Counter

from secure_rpc.audit.events import Events
from secure_rpc.call import Peer
from secure_rpc.identity.certificate import CertificateReader, certificate_reader
from secure_rpc.identity.principal import Identities
from secure_rpc.identity.revocation import AnyOf, RevocationSource
from secure_rpc.identity.revocation_files import RevocationFiles
from secure_rpc.identity.shared_revocations import SharedRevocations
from secure_rpc.live import LiveStreams
from secure_rpc.settings import Settings
from secure_rpc.telemetry.metrics import Metrics
from secure_rpc.tls.credentials import ServerCertificate, ServerFiles
from secure_rpc.tls.reload import CertificateKeeper

if TYPE_CHECKING:
    from secure_rpc.state.redis import Store

# What clients and this server agree on; a name that is not here is counted as "other", so that labels stay few
KEY_EXCHANGE_GROUPS = frozenset({b"X25519MLKEM768", b"X25519", b"P-256", b"P-384", b"P-521"})

MAX_COMPARED = 20_000  # shared revocations that are compared one by one with those before: it takes time of the loop
REVOCATIONS = "revocations"  # the name of what replicas share

logger = logging.getLogger(__name__)


class Trust:
    """Keep the server's certificates, and what callers are verified by, as their files are.

    Args:
        settings: of the service.
        metrics: of the service.
        live: streams, looked at again when a CA is gone or something is revoked.
        store: what the replicas share; none where there is only this one.
        events: are told of each change.

    Raises:
        ConfigurationError: a file is missing or not sound.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        live: LiveStreams,
        store: Store | None = None,
        events: Events | None = None,
    ) -> None:
        self._settings = settings
        self._events = events or Events(_unheard)
        self._metrics = metrics
        self._live = live
        self.certificates = CertificateKeeper(
            server_files(settings),
            ticket_lifetime_seconds=settings.tls.ticket_lifetime_seconds,
            on_change=self._certificates_changed,
            on_reload=self._certificates_reloaded,
        )
        self.revocations = RevocationFiles(
            settings.revocation,
            self._list_issuers,
            on_reload=self._lists_reloaded,
        )
        self._events.known_revoked("deny_list", self.revocations.denied())
        self.shared = self._shared_revocations(store) if store is not None else None
        self.revocation_source: RevocationSource = (
            self.revocations if self.shared is None else AnyOf(self.revocations, self.shared)
        )
        self._identities: Identities | None = None
        self._groups: dict[str, Counter] = {}
        for result in (True, False):  # zeros show before the first
            metrics.certificate_reloads.labels(_result(result))
            metrics.revocation_reloads.labels(_result(result))
        metrics.before_scrape(self._refresh)

    def certificate_reader(self) -> CertificateReader:
        """Return what reads callers' certificates, by the CAs of now."""
        current, authentication = self.certificates.current, self._settings.authentication
        return certificate_reader(
            authentication.trust_domain,
            {authentication.trust_domain: current.authorities, **current.federated},
            authentication.certificate_names,
        )

    def negotiated(self, peer: Peer) -> None:
        """Count how the keys of a connection were agreed."""
        group = peer.key_exchange_group
        label = group.decode() if group in KEY_EXCHANGE_GROUPS else "other" if group else "unknown"
        counter = self._groups.get(label)
        if counter is None:
            counter = self._groups[label] = self._metrics.key_exchange_groups.labels(label)
        counter.inc()

    async def keep_fresh(self, identities: Identities) -> None:
        """Follow the files until cancelled.

        Args:
            identities: verify anew when another answer may come out.
        """
        self._identities = identities

        async def revoked() -> None:
            identities.forget()
            await self._review()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.certificates.keep_fresh())
            tasks.create_task(self.revocation_source.keep_fresh(revoked))

    def unready_because(self) -> list[str]:
        """Return the reasons for which nobody is believed just now."""
        if self.shared is not None and self.shared.is_refusing:
            return ["what the replicas have revoked is not known"]
        return []

    async def _certificates_changed(self, new: ServerCertificate, old: ServerCertificate) -> None:
        if (new.authorities, new.federated) == (old.authorities, old.federated):
            return
        if self._identities is not None:
            self._identities.trust(self.certificate_reader())
        if self._settings.revocation.crl_files:
            await self.revocations.reload()  # a list that no known CA had signed may be one now
        await self._review()

    def _shared_revocations(self, store: Store) -> SharedRevocations:
        from secure_rpc.state.versioned_hash import VersionedHash  # noqa: PLC0415  # redis-py takes 8 MB

        settings = self._settings.revocation
        return SharedRevocations(
            VersionedHash(store, REVOCATIONS),
            max_staleness_seconds=settings.max_staleness_seconds,
            refuse_when_stale=settings.refuse_when_shared_stale,
            on_reload=self._shared_reloaded,
        )

    def _certificates_reloaded(self, good: bool) -> None:  # noqa: FBT001  # a callback's argument
        self._metrics.certificate_reloads.labels(_result(good)).inc()
        leaf = self.certificates.current.chain[0]
        until = leaf.not_valid_after_utc.isoformat()
        self._events.reloaded("certificates", good=good, serial=f"{leaf.serial_number:x}", not_after=until)

    def _lists_reloaded(self, good: bool) -> None:  # noqa: FBT001  # a callback's argument
        self._metrics.revocation_reloads.labels(_result(good)).inc()
        self._events.reloaded("revocations", good=good, **self.revocations.count())
        self._events.revoked("deny_list", self.revocations.denied())

    def _shared_reloaded(self, good: bool) -> None:  # noqa: FBT001  # a callback's argument
        self._metrics.revocation_reloads.labels(_result(good)).inc()
        if self.shared is not None:
            self._events.reloaded("shared_revocations", good=good, count=len(self.shared))
            if len(self.shared) <= MAX_COMPARED:
                self._events.revoked("shared", self.shared.denied())

    async def _review(self) -> None:
        if ended := await self._live.review():
            logger.info("%d streams were ended whose callers are not believed any more", ended)

    def _list_issuers(self) -> list[x509.Certificate]:
        """Return the CAs whose CRLs are believed."""
        current = self.certificates.current
        own = current.chain[1:] if current.is_signed_by_known else ()
        return [*current.all_authorities(), *own]

    def _refresh(self) -> None:
        current, expiry = self.certificates.current, self._metrics.certificate_expiry
        expiry.clear()  # those that are gone
        expiry.labels("server").set(current.not_after_seconds)
        expiry.labels("client_ca").set(current.ca_not_after_seconds)
        for kind, found in (("chain", current.chain[1:]), ("ca", list(current.all_authorities()))):
            for each in found:
                name = f"{kind} {each.subject.rfc4514_string()} {each.serial_number:x}"
                expiry.labels(name).set(each.not_valid_after_utc.timestamp())
        for kind, count in self.revocations.count().items():
            self._metrics.revocations.labels(kind).set(count)
        if self.shared is not None:
            self._metrics.revocations.labels("shared").set(len(self.shared))
            self._metrics.malformed_revocations.labels("shared").set(self.shared.malformed)
            self._metrics.revocations_age.labels("shared").set(self.shared.age_seconds)
        self._metrics.crl_next_update.clear()
        for issuer, seconds in self.revocations.next_updates_seconds().items():
            self._metrics.crl_next_update.labels(issuer).set(seconds)


def server_files(settings: Settings) -> ServerFiles:
    """Return where the server's certificates and bundles are."""
    federated = settings.authentication.federated_trust_domains
    return ServerFiles(
        settings.tls.certificate_file,
        settings.tls.key_file,
        settings.tls.client_ca_file,
        {name: domain.bundle_file for name, domain in federated.items()},
    )


def _result(good: bool) -> str:  # noqa: FBT001
    return "ok" if good else "refused"


def _unheard(_event: str, **_fields: object) -> None:
    """Tell nobody."""
