"""Documents come over verified TLS from the server that was named, in bounded time and size, or not at all."""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from starlette.responses import RedirectResponse, Response, StreamingResponse

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Request, client_request
from secure_rpc.identity.fetching import Fetcher, FetchFailed, https_only

from support.https import HttpsServer, Seen, https_server

LIMIT = 10_000


@pytest.fixture
async def fetcher(server: HttpsServer) -> AsyncIterator[Fetcher]:
    made = Fetcher(10, server.ca_file, max_bytes=LIMIT)
    yield made
    await made.close()


async def failure(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetcher.get(url)
    return str(caught.value)


async def test_a_document_is_fetched(server: HttpsServer, fetcher: Fetcher) -> None:
    server.answer = lambda _: Response(b"it", media_type="application/json")
    assert await fetcher.get(f"{server.url}/keys?a=b") == b"it"
    [seen] = server.seen
    assert (seen.verb, seen.path, seen.headers["accept"]) == ("GET", "/keys", "application/json")
    assert "authorization" not in seen.headers
    assert "cookie" not in seen.headers


async def test_a_form_is_sent_with_the_clients_name_and_secret(server: HttpsServer, fetcher: Fetcher) -> None:
    server.answer = lambda _: Response(b"{}")
    assert await fetcher.post(server.url, {"token": "a&b=c é"}, ("me", "hunter2")) == b"{}"
    assert server.seen[0].form == {"token": "a&b=c é"}
    assert server.seen[0].headers["authorization"] == "Basic bWU6aHVudGVyMg=="


async def test_a_secret_of_any_characters_arrives_as_rfc_6749_has_it(server: HttpsServer, fetcher: Fetcher) -> None:
    """Section 2.3.1: both are form-encoded first, so that a colon in the name does not end it."""
    name, secret = "https://me.example.org", "50% + a/b:c é"
    server.answer = lambda _: Response(b"{}")
    await fetcher.post(server.url, {}, (name, secret))
    assert basic(server.seen[0]) == (name, secret)


def basic(seen: Seen) -> tuple[str, str]:
    """Return the name and secret of a request, as a server reads them."""
    text = base64.b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode()
    name, _, secret = text.partition(":")
    return unquote_plus(name), unquote_plus(secret)


# --- what is no document ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 301, 304, 400, 401, 403, 404, 429, 500, 503])
async def test_any_status_but_200_is_a_failure(server: HttpsServer, fetcher: Fetcher, status: int) -> None:
    server.answer = lambda _: Response(status_code=status)
    assert await failure(fetcher, f"{server.url}/keys") == f"{server.url}/keys answered {status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: HttpsServer, fetcher: Fetcher, status: int) -> None:
    server.answer = lambda seen: (
        RedirectResponse("/elsewhere", status) if seen.path == "/keys" else Response(b"not from where we asked")
    )
    assert f"answered {status}" in await failure(fetcher, f"{server.url}/keys")
    with pytest.raises(FetchFailed):
        await fetcher.post(f"{server.url}/keys", {"token": "a"}, ("me", "hunter2"))
    assert {seen.path for seen in server.seen} == {"/keys"}


def body_of(size: int) -> Response:
    return Response(bytes(size))


def stream_of(size: int) -> Response:
    """Return an answer that does not say how long it is."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(size // 1000):
            yield bytes(1000)

    return StreamingResponse(parts())


def bomb_of(size: int) -> Response:
    """Return an answer that is small on the wire."""
    return Response(gzip.compress(bytes(size)), headers={"content-encoding": "gzip"})


@pytest.mark.parametrize("form", [body_of, stream_of, bomb_of])
async def test_a_document_has_a_limit_however_it_is_sent(
    server: HttpsServer, fetcher: Fetcher, form: Callable[[int], Response]
) -> None:
    server.answer = lambda _: form(LIMIT)
    assert len(await fetcher.get(server.url)) == LIMIT
    server.answer = lambda _: form(100 * LIMIT)
    assert await failure(fetcher, server.url) == f"{server.url} answered with more than {LIMIT} bytes"


async def silent(_: Seen) -> Response:
    await asyncio.sleep(6)
    return Response(b"late")


async def dripping(_: Seen) -> Response:
    """Never wait long between two bytes: only a limit for the whole ends this."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(60):
            yield b"x"
            await asyncio.sleep(0.1)

    return StreamingResponse(parts())


@pytest.mark.parametrize("slow", [silent, dripping])
async def test_the_whole_exchange_has_its_time_and_no_more(
    server: HttpsServer, slow: Callable[[Seen], Response]
) -> None:
    server.answer, fetcher = slow, Fetcher(0.5, server.ca_file)
    started = time.perf_counter()
    assert "Timeout" in await failure(fetcher, server.url)
    assert time.perf_counter() - started < 4
    await fetcher.close()


async def test_a_server_that_is_not_there_is_a_failure(fetcher: Fetcher) -> None:
    assert "ConnectError" in await failure(fetcher, "https://localhost:1/keys")


# --- TLS -------------------------------------------------------------------------------------------------------


async def test_a_server_of_an_authority_that_is_not_trusted_is_not_asked(server: HttpsServer, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority.create("other").certificate_pem)
    for fetcher in (Fetcher(10, other), Fetcher(10)):  # the latter trusts the CAs of the system
        assert "CERTIFICATE_VERIFY_FAILED" in await failure(fetcher, server.url)
        await fetcher.close()
    assert server.seen == []


async def test_a_server_of_another_name_is_not_asked(authority: Authority, tmp_path: Path) -> None:
    with https_server(tmp_path / "server", authority, names=["elsewhere.example.org"]) as server:
        fetcher = Fetcher(10, server.ca_file)
        assert "CERTIFICATE_VERIFY_FAILED" in await failure(fetcher, server.url)
        await fetcher.close()
        assert server.seen == []


async def test_no_proxy_of_the_environment_comes_between(server: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fetcher = Fetcher(10, server.ca_file)
    server.answer = lambda _: Response(b"it")
    assert await fetcher.get(server.url) == b"it"
    await fetcher.close()


async def test_our_certificate_is_shown_where_it_is_asked_for(authority: Authority, tmp_path: Path) -> None:
    with https_server(tmp_path / "server", authority, clients=authority) as server:
        server.answer = lambda _: Response(b"it")
        pem, key = tmp_path / "client.pem", tmp_path / "client.key"
        authority.issue(client_request("orders", "example.org")).write(pem, key)
        fetcher, nobody = Fetcher(10, server.ca_file, pem, key), Fetcher(10, server.ca_file)
        assert await fetcher.get(server.url) == b"it"
        assert await failure(nobody, server.url)
        assert len(server.seen) == 1
        for each in (fetcher, nobody):
            await each.close()


@pytest.mark.parametrize("wrong", ["ca_file", "certificate_file", "key_file"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_a_file_that_cannot_be_used_is_named(
    authority: Authority, tmp_path: Path, wrong: str, content: bytes | None
) -> None:
    files: dict[str, Any] = {name: tmp_path / name for name in ("ca_file", "certificate_file", "key_file")}
    files["ca_file"].write_bytes(authority.certificate_pem)
    authority.issue(Request("orders")).write(files["certificate_file"], files["key_file"])
    files[wrong].unlink()
    if content is not None:
        files[wrong].write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Fetcher(1, **files)
    [told] = caught.value.problems
    assert str(files[wrong]) in told
    assert "cannot be used for TLS" in told


# --- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["https://issuer.example.org", "https://issuer.example.org:8443/a/b?c=d", "HTTPS://A.b"]
)
def test_an_address_of_https_is_taken_as_it_stands(url: str) -> None:
    assert https_only(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.org",
        "ftp://issuer.example.org",
        "file:///etc/passwd",
        "issuer.example.org",
        "//issuer.example.org",
        "https://",
        "https:///jwks",
        "https://me:secret@issuer.example.org",
        "https://me@issuer.example.org",
        "https://issuer.example.org:port",
        "https://issuer.example.org:99999",
        "https://issuer\0.example.org",
        "https://[::1",
        "",
    ],
)
def test_any_other_address_is_refused_and_no_password_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"begins with https:// and holds no password") as caught:
        https_only(url)
    assert "secret" not in str(caught.value)
