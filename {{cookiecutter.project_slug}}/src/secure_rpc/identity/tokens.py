"""Tokens of several issuers, each by its own rules: JWTs are verified here, others are asked about."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jwt

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity import token as tokens
from secure_rpc.identity.fetching import Fetcher
from secure_rpc.identity.introspection import Introspector
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.key_store import KeyStore, KeysUnavailable
from secure_rpc.identity.token import Token, refused

FILE_REFRESH_SECONDS = 5.0  # a file costs nothing to look at
FILE_INTERVAL_SECONDS = 1.0
UNKNOWN_ISSUER = "unknown"
MAX_FORGERIES = 1000


class Forgery(NamedTuple):
    """What was found of a token whose signature does not fit."""

    issuer: str
    key_id: str
    key: jwt.PyJWK  # that it was tried with


class Forgeries:
    """Remember tokens whose signature does not fit a key: it never will, and who shows one mostly shows it again.

    Args:
        size: how many; the one not shown for longest goes first.
    """

    def __init__(self, size: int = MAX_FORGERIES) -> None:
        self._size = size
        self._found: dict[bytes, Forgery] = {}  # by the token's digest; least recently shown first

    def find(self, text: str) -> Forgery | None:
        """Return what was found of a token, if anything was."""
        digest = _digest(text)
        found = self._found.pop(digest, None)
        if found is not None:
            self._found[digest] = found
        return found

    def add(self, text: str, forgery: Forgery) -> None:
        """Remember a token that is not signed by the key."""
        digest = _digest(text)
        if digest not in self._found and len(self._found) >= self._size:
            del self._found[next(iter(self._found))]
        self._found[digest] = forgery

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._found)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class TokenVerifier:
    """Tell what tokens say.

    Args:
        issuers: whose tokens are taken.
        on_retired: is told when an issuer has retired keys.
        on_introspection: is told how many seconds each question to an issuer took.

    Raises:
        ConfigurationError: two issuers have one name; a file is missing or wrong.
    """

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        *,
        on_retired: Callable[[], None] = lambda: None,
        on_introspection: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        if len(self._issuers) != len(issuers):
            raise ConfigurationError("authentication.issuers: one name stands twice; keep one of the two")
        self._forgeries = Forgeries()
        self._fetchers: list[Fetcher] = []
        self.stores: dict[str, KeyStore] = {}
        self.introspectors: dict[str, Introspector] = {}
        for issuer in issuers:
            if issuer.jwks_file or issuer.jwks_url:
                self.stores[issuer.issuer] = self._store(issuer, on_retired)
            if issuer.introspection:
                introspector = Introspector(
                    issuer, issuer.introspection, self._fetcher(issuer), on_duration=on_introspection
                )
                self.introspectors[issuer.issuer] = introspector

    async def verify(self, text: str) -> Token:
        """Return what a token says.

        Raises:
            Unauthenticated: it cannot be believed.
            Unavailable: it cannot be told, since the issuer does not answer.
        """
        forgery = self._forgeries.find(text)
        if forgery is not None and self.stores[forgery.issuer].known(forgery.key_id) is forgery.key:
            raise refused("TOKEN_SIGNATURE_WRONG")  # and nothing of it is looked at again
        taken = tokens.take_apart(text)
        if taken is None:
            return await self._ask(text)
        name = taken.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise refused("TOKEN_ISSUER_UNKNOWN")
        if issuer.issuer not in self.stores:
            return await self.introspectors[issuer.issuer].introspect(text)
        key_id = tokens.key_id_of(taken, issuer)
        store = self.stores[issuer.issuer]
        try:
            key = store.known(key_id) or await store.get(key_id)
        except KeysUnavailable as error:
            raise errors.Unavailable("the issuer's keys cannot be had", reason="TOKEN_KEYS_UNAVAILABLE") from error
        if key is None:
            raise refused("TOKEN_KEY_UNKNOWN")
        try:
            token = tokens.verify(taken, issuer, key)
        except errors.StatusError as error:
            if error.reason == "TOKEN_SIGNATURE_WRONG":
                self._forgeries.add(text, Forgery(issuer.issuer, key_id, key))
            raise
        return replace(token, recheck_at_seconds=time.time() + store.usable_seconds)

    def issuer_of(self, text: str) -> str:
        """Return whose a token that was not believed says it is; `UNKNOWN_ISSUER` where that is none of ours."""
        if (forgery := self._forgeries.find(text)) is not None:
            return forgery.issuer
        try:
            taken = tokens.take_apart(text)
        except errors.StatusError:
            return UNKNOWN_ISSUER
        if taken is None:  # of no issuer but the one that could be asked
            return next(iter(self.introspectors)) if len(self.introspectors) == 1 else UNKNOWN_ISSUER
        name = taken.claims.get("iss")
        return name if isinstance(name, str) and name in self._issuers else UNKNOWN_ISSUER

    def forget(self) -> None:
        """Ask anew about every token."""
        for introspector in self.introspectors.values():
            introspector.forget()

    async def keep_fresh(self) -> None:
        """Keep the keys of all issuers fresh, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for store in self.stores.values():
                group.create_task(store.keep_fresh())

    async def close(self) -> None:
        """Close the connections to the issuers."""
        for fetcher in self._fetchers:
            await fetcher.close()

    async def _ask(self, text: str) -> Token:
        """Ask each issuer that can be asked about a token that does not say whose it is."""
        refusal: errors.StatusError = refused("TOKEN_MALFORMED")
        for introspector in self.introspectors.values():
            try:
                return await introspector.introspect(text)
            except errors.Unauthenticated as error:
                refusal = error
        raise refusal

    def _fetcher(self, issuer: Issuer) -> Fetcher:
        how = issuer.fetch
        fetcher = Fetcher(how.timeout_seconds, how.ca_file, how.certificate_file, how.key_file)
        self._fetchers.append(fetcher)
        return fetcher

    def _store(self, issuer: Issuer, on_retired: Callable[[], None]) -> KeyStore:
        when = issuer.keys
        if issuer.jwks_url:
            fetcher, url = self._fetcher(issuer), issuer.jwks_url
            return KeyStore(
                issuer.issuer,
                lambda: fetcher.get(url),
                refresh_seconds=when.refresh_seconds,
                minimum_interval_seconds=when.minimum_interval_seconds,
                stale_limit_seconds=when.stale_limit_seconds,
                on_retired=on_retired,
            )
        path = issuer.jwks_file
        if path is None:
            raise RuntimeError("an issuer has keys in a file or at an address")
        store = KeyStore(
            issuer.issuer,
            lambda: asyncio.to_thread(_read, path),
            refresh_seconds=min(when.refresh_seconds, FILE_REFRESH_SECONDS),
            minimum_interval_seconds=min(when.minimum_interval_seconds, FILE_INTERVAL_SECONDS),
            stale_limit_seconds=when.stale_limit_seconds,
            on_retired=on_retired,
        )
        try:
            store.take(_read(path))
        except OSError as error:
            raise ConfigurationError(
                f"{path}: cannot be read ({error.strerror}); run `make setup`, or mount it"
            ) from None
        return store


def _read(path: Path) -> bytes:
    return path.read_bytes()
