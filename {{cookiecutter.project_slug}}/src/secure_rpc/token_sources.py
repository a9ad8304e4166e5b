"""Where a client's tokens come from: a file, the issuer, an exchange. Fetched ahead of their end, once for all.

All of these are called on threads of gRPC's, so they are synchronous; a channel takes any callable that does so.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import httpx
import orjson

from secure_rpc.identity.fetching import basic_auth, https_only, tls_context

__all__ = [
    "Fetched",
    "FileToken",
    "Refreshing",
    "TokenEndpoint",
    "TokenSource",
    "TokenUnavailable",
    "client_credentials",
    "token_exchange",
]

TokenSource: TypeAlias = Callable[[], str]  # called for every attempt; raises TokenUnavailable

OK = 200
MAX_BYTES = 1_000_000
DEFAULT_LIFETIME_SECONDS = 60.0  # of a token whose issuer does not say
GRANT_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # the name of a kind (RFC 8693, section 3)


class TokenUnavailable(Exception):
    """No token can be had; the call fails rather than go without."""


class Fetched(NamedTuple):
    """A token, and how long it lasts."""

    token: str
    lifetime_seconds: float


class FileToken:
    """A token that something else keeps in a file, such as a projected service-account token; read again as it changes.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, str] = (0, "")

    def __call__(self) -> str:
        """Return the token that stands in the file now."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._read[0]:
                self._read = changed, self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenUnavailable(f"{self._path} cannot be read: {error}") from error
        if not self._read[1]:
            raise TokenUnavailable(f"{self._path} is empty")
        return self._read[1]


class Refreshing:
    """Keep a token until shortly before its end, then fetch the next while the old one still serves.

    Args:
        fetch: gets a token; raises TokenUnavailable.
        ahead: the share of its life that a token has left when the next is fetched, less up to half of that by chance,
            so that a thousand clients started at once do not come back at once.
        clock: gives seconds; any start will do.
        chance: gives a random number below 1.
    """

    def __init__(
        self,
        fetch: Callable[[], Fetched],
        ahead: float = 0.2,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._fetch = fetch
        self._ahead = ahead
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()  # one fetch at a time
        self._token = ""
        self._renew_at = self._ends_at = float("-inf")

    def __call__(self) -> str:
        """Return a token that has not ended; wait for one only where there is none."""
        now = self._clock()
        if now < self._renew_at:
            return self._token
        if now < self._ends_at:
            if self._lock.acquire(blocking=False):
                threading.Thread(target=self._renew_in_background, daemon=True).start()
            return self._token
        with self._lock:
            if self._clock() >= self._renew_at:
                self._renew()
            return self._token

    def _renew_in_background(self) -> None:
        try:
            if self._clock() >= self._renew_at:  # else another thread was faster
                self._renew()
        except TokenUnavailable:
            now = self._clock()  # the old one still serves: try again soon, and never serve it past its end
            self._renew_at = min(now + max((self._ends_at - now) * 0.1, 1.0), self._ends_at)
        finally:
            self._lock.release()

    def _renew(self) -> None:
        fetched = self._fetch()
        now = self._clock()
        left = self._ahead * (1.0 - 0.5 * self._chance())
        self._token = fetched.token
        self._renew_at = now + fetched.lifetime_seconds * (1.0 - left)
        self._ends_at = now + fetched.lifetime_seconds


class TokenEndpoint:
    """An issuer's token endpoint (RFC 6749, section 3.2), over verified TLS, without redirects.

    Args:
        url: of the endpoint, https.
        client_id: ours.
        client_secret: ours; "" where our certificate says who we are (RFC 8705, section 2).
        ca_file: the CAs that vouch for the issuer's server, PEM; None for those of the system.
        certificate_file: our certificate, PEM.
        key_file: its key, PEM.
        timeout_seconds: for one exchange.

    Raises:
        ConfigurationError: a file cannot be read.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str = "",
        *,
        ca_file: Path | None = None,
        certificate_file: Path | None = None,
        key_file: Path | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        self._url = https_only(url)
        self._client_id = client_id
        self._auth = basic_auth(client_id, client_secret) if client_secret else None
        self._timeout_seconds = timeout_seconds
        context = tls_context(ca_file, certificate_file, key_file)
        self._client = httpx.Client(verify=context, timeout=timeout_seconds, follow_redirects=False, trust_env=False)

    def ask(self, form: Mapping[str, str]) -> Fetched:
        """Return the token that the endpoint gives for a grant.

        Raises:
            TokenUnavailable: it gives none.
        """
        fields = dict(form) if self._auth else {**form, "client_id": self._client_id}
        try:
            status, content = self._post(fields)
        except httpx.HTTPError as error:
            raise TokenUnavailable(f"{self._url}: {type(error).__name__}") from error
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError:
            answer = None
        if status != OK or not isinstance(answer, dict):
            reason = answer.get("error", "") if isinstance(answer, dict) else ""
            raise TokenUnavailable(f"{self._url} answered {status} {str(reason)[:64]}")
        token, lifetime = answer.get("access_token"), answer.get("expires_in", DEFAULT_LIFETIME_SECONDS)
        if not isinstance(token, str) or not token or not isinstance(lifetime, int | float):
            raise TokenUnavailable(f"{self._url} answered without a token")
        return Fetched(token, float(lifetime))

    def _post(self, fields: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and content; httpx times each read apart, and reads however much there is."""
        deadline, content = time.monotonic() + self._timeout_seconds, b""
        auth, headers = self._auth or httpx.Auth(), {"accept": "application/json"}
        with self._client.stream("POST", self._url, data=dict(fields), auth=auth, headers=headers) as response:
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_BYTES or time.monotonic() > deadline:
                    raise TokenUnavailable(f"{self._url} answers too much, or too slowly")
            return response.status_code, content


def client_credentials(endpoint: TokenEndpoint, scope: str = "", resource: str = "") -> TokenSource:
    """Return a source of tokens for a service itself (RFC 6749, section 4.4).

    Args:
        endpoint: of the issuer.
        scope: asked for, "" for the issuer's default.
        resource: for which the tokens shall be (RFC 8707), "" for the issuer's default.
    """
    form = {"grant_type": "client_credentials"}
    form |= {key: value for key, value in (("scope", scope), ("resource", resource)) if value}
    return Refreshing(lambda: endpoint.ask(form))


def token_exchange(endpoint: TokenEndpoint, subject_token: TokenSource, audience: str) -> TokenSource:
    """Return a source of tokens for another audience, in exchange for those of a source (RFC 8693).

    Args:
        endpoint: of the issuer.
        subject_token: gives the tokens that are exchanged.
        audience: for which the new ones shall be.
    """

    def fetch() -> Fetched:
        return endpoint.ask(
            {
                "grant_type": GRANT_EXCHANGE,
                "subject_token": subject_token(),
                "subject_token_type": ACCESS_TOKEN,
                "audience": audience,
            }
        )

    return Refreshing(fetch)
