"""Documents from an issuer, fetched with care: over verified TLS, without redirects, bounded in size and time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from secure_rpc.configuration import ConfigurationError

if TYPE_CHECKING:
    import httpx  # imported where it is needed: 4 MB, and more of the start than most of the rest

MAX_BYTES = 1_000_000
OK = 200
MAX_PORT = 65535


class FetchFailed(Exception):
    """The document did not come, or is not what was asked for; the text is for the log."""


class Fetcher:
    """A client of one issuer.

    Args:
        timeout_seconds: for the whole of one exchange.
        ca_file: the CAs that vouch for the issuer's server, PEM; None for those of the system.
        certificate_file: our own certificate, where the issuer asks for one, PEM.
        key_file: its key, PEM.
        max_bytes: of a document.

    Raises:
        ConfigurationError: a file cannot be read.
    """

    def __init__(
        self,
        timeout_seconds: float,
        ca_file: Path | None = None,
        certificate_file: Path | None = None,
        key_file: Path | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        import httpx  # noqa: PLC0415  # see above

        context = tls_context(ca_file, certificate_file, key_file)
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._failures = (httpx.HTTPError, TimeoutError)
        self._client = httpx.AsyncClient(
            verify=context, timeout=timeout_seconds, follow_redirects=False, trust_env=False, http2=False
        )

    async def get(self, url: str) -> bytes:
        """Return a document.

        Raises:
            FetchFailed: it did not come.
        """
        return await self._exchange("GET", url)

    async def post(self, url: str, form: Mapping[str, str], auth: tuple[str, str] | None = None) -> bytes:
        """Send a form; return the answer.

        Args:
            url: where to.
            form: its fields.
            auth: client id and secret, for HTTP Basic (RFC 6749, section 2.3.1).

        Raises:
            FetchFailed: no answer came, or a refusal.
        """
        return await self._exchange("POST", url, data=dict(form), auth=basic_auth(*auth) if auth else None)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _exchange(self, verb: str, url: str, **arguments: Any) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            # httpx times each read apart: a byte now and then would keep it waiting for ever
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._client.stream(verb, url, headers={"accept": "application/json"}, **arguments) as response,
            ):
                if response.status_code != OK:
                    raise FetchFailed(f"{url} answered {response.status_code}")
                async for part in response.aiter_bytes():
                    size += len(part)
                    if size > self._max_bytes:
                        raise FetchFailed(f"{url} answered with more than {self._max_bytes} bytes")
                    parts.append(part)
        except self._failures as error:
            raise FetchFailed(f"{url}: {type(error).__name__}: {error}") from error
        return b"".join(parts)


def tls_context(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return what a client of an issuer needs for TLS; see `Fetcher`.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if certificate_file:
            context.load_cert_chain(certificate_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{ca_file or ''} {certificate_file or ''} {key_file or ''}: cannot be used for TLS: {error}"
        ) from None
    return context


def basic_auth(client_id: str, client_secret: str) -> httpx.BasicAuth:
    """Return who we are, for HTTP Basic; both are form-encoded first (RFC 6749, section 2.3.1)."""
    import httpx  # noqa: PLC0415  # see above

    return httpx.BasicAuth(quote_plus(client_id), quote_plus(client_secret))


def https_only(url: str) -> str:
    """Return the URL of an issuer.

    Raises:
        ValueError: it is not https: whoever sits between could give us keys of his own.
    """
    import httpx  # noqa: PLC0415  # see above

    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        parsed = httpx.URL("")
    if parsed.scheme != "https" or not parsed.host or parsed.userinfo or (parsed.port or 0) > MAX_PORT:
        raise ValueError("an issuer's address begins with https:// and holds no password")
    return url
