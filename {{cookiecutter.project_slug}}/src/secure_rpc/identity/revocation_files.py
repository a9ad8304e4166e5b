"""Revocations from files, kept fresh: each file is read again when it changes, its last good version kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cryptography import x509
from pydantic import Field

from secure_rpc.configuration import ConfigurationError, Section
from secure_rpc.identity.certificate import Certificate
from secure_rpc.identity.deny_list import DenyList
from secure_rpc.identity.revocation import OnChange, Revoked
from secure_rpc.identity.revocation_loading import Loaded, Order, load, load_beside
from secure_rpc.watching import FileWatch

POLL_SECONDS = 0.5  # a revocation counts within a second, also where the system tells of no changes
SETTLE_SECONDS = 0.05
STALE_LOOK_SECONDS = 30.0  # the longest until a list's end is noticed where the clock was set

logger = logging.getLogger(__name__)


class RevocationSettings(Section):
    """What is taken back before its time."""

    deny_list_file: Path | None = None  # by hand; counts from the moment it is written
    crl_files: tuple[Path, ...] = ()  # of CAs, PEM or DER; fetched by something else
    refuse_when_crl_stale: bool = True  # false lets in what the CRL that did not come may have revoked
    max_staleness_seconds: float = Field(default=300.0, gt=0)  # of what replicas share, without being confirmed
    refuse_when_shared_stale: bool = True  # false lets in what was revoked while the shared store was away


class RevocationFiles:
    """A deny-list and CRLs, a `RevocationSource`.

    Args:
        settings: name the files.
        authorities: gives the CAs whose lists are believed, as they are now.
        on_reload: told after each change of a file whether it was taken up.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: a file is missing or wrong.
    """

    def __init__(
        self,
        settings: RevocationSettings,
        authorities: Callable[[], Sequence[x509.Certificate]],
        *,
        on_reload: Callable[[bool], None] = lambda _good: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deny_list = settings.deny_list_file
        self._crls = settings.crl_files
        self._refuse_when_stale = settings.refuse_when_crl_stale
        self._authorities = authorities
        self._on_reload = on_reload
        self._clock = clock
        paths = [*self._crls, *([self._deny_list] if self._deny_list else [])]
        self._watch = FileWatch(paths, poll_seconds=POLL_SECONDS, settle_seconds=SETTLE_SECONDS)
        self._loaded: dict[Path, Loaded] = {path: load(self._order(path)) for path in paths}
        self._revoked = self._put_together()
        self._reloading = asyncio.Lock()

    def check_certificate(self, certificate: Certificate) -> None:
        """See `RevocationSource`."""
        self._revoked.check_certificate(certificate)

    def next_updates_seconds(self) -> dict[str, float]:
        """Return by when (Unix time) the list of each issuer is to be followed by another."""
        ends: dict[str, float] = {}
        for crl in (crl for loaded in self._loaded.values() for crl in loaded.crls):
            ends[crl.issuer] = min(crl.next_update_seconds, ends.get(crl.issuer, crl.next_update_seconds))
        return ends

    def count(self) -> dict[str, int]:
        """Return how much each kind of list holds."""
        loaded = self._loaded.values()
        return {
            "deny_list": sum(len(each.deny_list) for each in loaded),
            "crl": sum(len(crl.serials) for each in loaded for crl in each.crls),
        }

    def denied(self) -> frozenset[tuple[str, str, str]]:
        """Return kind, issuer and name of all that the deny-list holds."""
        return frozenset[tuple[str, str, str]]().union(*(each.deny_list.keys() for each in self._loaded.values()))

    def check_user(self, issuer: str, subject: str, token_id: str) -> None:
        """See `RevocationSource`."""
        self._revoked.check_user(issuer, subject, token_id)

    async def keep_fresh(self, on_change: OnChange) -> None:
        """See `RevocationSource`."""
        if not self._loaded:
            return

        async def reload(paths: frozenset[Path]) -> None:
            if await self.reload(paths):
                await on_change()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run(reload))
            tasks.create_task(self._follow_ends(on_change))

    async def reload(self, paths: Iterable[Path] | None = None) -> bool:
        """Read files now; return whether anything was taken up.

        Args:
            paths: those that have changed; None for all CRLs, since other CAs are trusted.
        """
        good = False
        async with self._reloading:
            for path in self._crls if paths is None else paths:
                try:
                    loaded = await load_beside(self._order(path))
                    self._check_follows(path, loaded)
                except ConfigurationError as error:
                    self._on_reload(False)  # noqa: FBT003
                    logger.error("what it revokes is left as it was: %s", "; ".join(error.problems))  # noqa: TRY400
                    continue
                self._loaded[path] = loaded
                self._on_reload(True)  # noqa: FBT003
                logger.info("revocations were read from %s: %s", path, self.count())
                good = True
            if good:
                self._revoked = self._put_together()
        return good

    async def _follow_ends(self, on_change: OnChange) -> None:
        """Say so when a list should have been followed by another: what was verified by it has to be asked anew."""
        told: set[tuple[str, float]] = set()
        while True:
            now = self._clock()
            stale = {(issuer, end) for issuer, end in self.next_updates_seconds().items() if end <= now}
            for issuer, end in stale - told:
                logger.error(
                    "the CRL of %s should have been followed by another %.0f s ago; its certificates are %s",
                    issuer,
                    now - end,
                    "refused" if self._refuse_when_stale else "accepted, as revocation.refuse_when_crl_stale says",
                )
            if stale - told:
                await on_change()
            told = stale
            ends = [end - now for end in self.next_updates_seconds().values() if end > now]
            await asyncio.sleep(min([STALE_LOOK_SECONDS, *ends]))

    def _check_follows(self, path: Path, loaded: Loaded) -> None:
        """Refuse a list that is older than the one in use: somebody brings back what was taken back.

        Raises:
            ConfigurationError: there is such a list.
        """
        before = {crl.issuer: crl.this_update_seconds for crl in self._loaded[path].crls}
        for crl in loaded.crls:
            if crl.this_update_seconds < before.get(crl.issuer, 0.0):
                raise ConfigurationError(
                    f"{path}: the CRL of {crl.issuer!r} is older than the one in use; fetch it anew"
                )

    def _order(self, path: Path) -> Order:
        if path == self._deny_list:
            return Order("deny_list", path)
        return Order("crl", path, self._authorities())

    def _put_together(self) -> Revoked:
        loaded = self._loaded.values()
        deny_list = self._loaded[self._deny_list].deny_list if self._deny_list else DenyList()
        return Revoked(
            deny_list,
            [crl for each in loaded for crl in each.crls],
            refuse_when_stale=self._refuse_when_stale,
            clock=self._clock,
        )
