"""Asking the issuer about a token that says nothing by itself (RFC 7662)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.fetching import Fetcher, FetchFailed
from secure_rpc.identity.issuer import Introspection, Issuer
from secure_rpc.identity.token import MAX_TOKEN_BYTES, Token, refused, token_of


@dataclass(frozen=True, slots=True)
class _Answer:
    token: Token | None  # None: not active
    until_seconds: float


@dataclass(slots=True)
class IntrospectionUse:
    """What was asked so far."""

    requests: int = 0
    failures: int = 0


class Introspector:
    """Ask one issuer, once for all who wait for the same token, and remember the answer for a while.

    Args:
        issuer: whose tokens; its `introspection` says where and how.
        settings: that `introspection`.
        fetcher: speaks to the issuer.
        on_duration: is told how many seconds each request took.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: the client's secret cannot be read.
    """

    def __init__(
        self,
        issuer: Issuer,
        settings: Introspection,
        fetcher: Fetcher,
        *,
        on_duration: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._settings = settings
        self._fetcher = fetcher
        self._on_duration = on_duration
        self._clock = clock
        self._auth = _auth(settings)
        self._answers: dict[bytes, _Answer] = {}  # by the token's SHA-256, least recently used first
        self._asking: dict[bytes, asyncio.Task[_Answer]] = {}
        self._generation = 0
        self.use = IntrospectionUse()

    async def introspect(self, text: str) -> Token:
        """Return what the issuer says of a token.

        Raises:
            Unauthenticated: it is not active, or not for us.
            Unavailable: the issuer does not answer: nobody is believed on no evidence.
        """
        if len(text) > MAX_TOKEN_BYTES:
            raise refused("TOKEN_TOO_LARGE")
        key = hashlib.sha256(text.encode()).digest()
        answer = self._answers.pop(key, None)
        if answer is not None and self._clock() < answer.until_seconds:
            self._answers[key] = answer
        else:
            answer = await self._ask_once(key, text)
        if answer.token is None:
            raise refused("TOKEN_INACTIVE")
        return answer.token

    def forget(self) -> None:
        """Ask anew about every token."""
        self._generation += 1
        self._answers.clear()

    def __len__(self) -> int:
        """Return how many answers are remembered."""
        return len(self._answers)

    async def _ask_once(self, key: bytes, text: str) -> _Answer:
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, text))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            return await asyncio.shield(task)
        except (FetchFailed, orjson.JSONDecodeError, TypeError) as error:
            raise errors.Unavailable("the issuer cannot be asked", reason="TOKEN_INTROSPECTION_UNAVAILABLE") from error

    async def _ask(self, key: bytes, text: str) -> _Answer:
        self.use.requests += 1
        started, generation = time.perf_counter(), self._generation
        form = {"token": text, "token_type_hint": "access_token"}
        if self._settings.client_id and self._auth is None:
            form["client_id"] = self._settings.client_id
        try:
            raw = await self._fetcher.post(self._settings.url, form, self._auth)
            claims = orjson.loads(raw)
            token = self._token(claims) if claims["active"] is True else None
        except (FetchFailed, orjson.JSONDecodeError, TypeError, KeyError) as error:
            self.use.failures += 1
            raise FetchFailed(f"{self._settings.url}: {error!r}") from error
        finally:
            self._on_duration(time.perf_counter() - started)
        now = self._clock()
        if token is None:
            answer = _Answer(None, now + self._settings.negative_cache_seconds)
        else:
            until = min(now + self._settings.cache_seconds, token.expires_at_seconds)
            answer = _Answer(replace(token, recheck_at_seconds=until), until)
        if generation == self._generation:  # else something was revoked while we waited
            if len(self._answers) >= self._settings.remembered_tokens:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = answer
        return answer

    def _token(self, claims: dict[str, object]) -> Token | None:
        """Return an active answer as a token; None where it is another issuer's, not for us, or has expired."""
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        if not isinstance(audiences, list) or not set(audiences) & set(self._issuer.audiences):
            return None
        if claims.get("iss", self._issuer.issuer) != self._issuer.issuer:
            return None
        if any(name not in claims for name in self._issuer.required_claims):
            return None
        not_before = claims.get("nbf", 0)
        if not isinstance(not_before, int | float) or not_before > self._clock() + self._issuer.leeway_seconds:
            return None
        try:
            token = token_of(claims, self._issuer)
        except errors.Unauthenticated:
            return None
        return token if self._clock() < token.expires_at_seconds else None


def _auth(settings: Introspection) -> tuple[str, str] | None:
    if settings.client_secret_file is None:
        return None
    try:
        return settings.client_id, settings.client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"introspection.client_secret_file: {settings.client_secret_file} cannot be read ({error}); mount it"
        ) from None
