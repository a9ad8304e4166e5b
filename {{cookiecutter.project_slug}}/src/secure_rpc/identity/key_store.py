"""The keys of an issuer, kept fresh: fetched once for all who wait, again before they are old, never more than allowed.

What an attacker can choose, the key id, never decides how often the issuer is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import jwt

from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.fetching import FetchFailed
from secure_rpc.identity.jwks import parse_jwks

logger = logging.getLogger(__name__)


class KeysUnavailable(Exception):
    """There are no keys that may still be used, and none can be had."""


@dataclass(slots=True)
class KeyStoreUse:
    """What the store has done so far."""

    fetches: int = 0
    failures: int = 0
    retired: int = 0


class KeyStore:
    """Keys by id.

    Args:
        name: of the issuer, for the log.
        fetch: gets the JWKS document.
        refresh_seconds: the age at which keys are fetched anew, in the background.
        minimum_interval_seconds: between two fetches, whatever is asked for.
        stale_limit_seconds: the age at which keys are used no more, though no newer ones can be had.
        on_retired: is told when keys have gone; what was verified by them must be forgotten.
        clock: gives seconds; any start will do.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        refresh_seconds: float = 300.0,
        minimum_interval_seconds: float = 10.0,
        stale_limit_seconds: float = 3600.0,
        on_retired: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._refresh_seconds = refresh_seconds
        self._minimum_interval_seconds = minimum_interval_seconds
        self._stale_limit_seconds = stale_limit_seconds
        self._on_retired = on_retired
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self.use = KeyStoreUse()

    @property
    def age_seconds(self) -> float:
        """Return how old the keys are."""
        return self._clock() - self._fetched_at

    @property
    def usable_seconds(self) -> float:
        """Return for how long the keys may be used if no newer ones can be had."""
        return self._stale_limit_seconds - self.age_seconds

    def known(self, key_id: str) -> jwt.PyJWK | None:
        """Return a key that is there and may be used, without waiting for anything."""
        return self._keys.get(key_id) if self.age_seconds < self._stale_limit_seconds else None

    async def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return a key, None where the issuer has none of that id.

        Raises:
            KeysUnavailable: the keys are too old, and no newer ones can be had.
        """
        if (key := self.known(key_id)) is None:
            await self.refresh()
            key = self.known(key_id)
        if self.age_seconds >= self._stale_limit_seconds:
            raise KeysUnavailable(self._name)
        return key

    async def refresh(self) -> None:
        """Fetch the keys, unless that was tried a moment ago; all who come meanwhile wait for the same fetch."""
        if self._fetching is None:
            if self._clock() - self._tried_at < self._minimum_interval_seconds:
                return
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._refresh())
        await asyncio.shield(self._fetching)

    async def keep_fresh(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Fetch the keys whenever they are due, for as long as the service lives; so that a retired key is noticed."""
        while True:
            await self.refresh()
            due = self._refresh_seconds - self.age_seconds if self._keys else 0.0
            await sleep(max(due, self._minimum_interval_seconds))

    async def _refresh(self) -> None:
        self.use.fetches += 1
        try:
            self.take(await self._fetch())
        except (FetchFailed, ConfigurationError, OSError) as error:
            self.use.failures += 1
            logger.warning("the keys of %s cannot be had: %s", self._name, error)
        finally:
            self._fetching = None

    def take(self, document: bytes) -> None:
        """Use the keys of a JWKS document from now on.

        Raises:
            ConfigurationError: it is none, or has no usable key.
        """
        keys = parse_jwks(document, self._name)
        retired = [key_id for key_id, key in self._keys.items() if key_id not in keys or keys[key_id].key != key.key]
        self._keys, self._fetched_at = keys, self._clock()
        if retired:
            self.use.retired += len(retired)
            logger.info("%s has retired the keys %s", self._name, ", ".join(retired))
            self._on_retired()
