"""Tokens from an issuer's endpoint: over verified TLS, in bounded time and size; what goes wrong tells no secret."""

from __future__ import annotations

import asyncio
import base64
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from starlette.responses import RedirectResponse, Response, StreamingResponse

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.token_sources import (
    DEFAULT_LIFETIME_SECONDS,
    TokenEndpoint,
    TokenUnavailable,
    client_credentials,
    token_exchange,
)

from support.https import HttpsServer, Seen, https_server, json_of

SECRET = "hunter2+/:%"  # noqa: S105  # the one that no error may tell
TOKEN = "the-token"  # noqa: S105


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test CA")


@pytest.fixture(scope="module")
def running(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    with https_server(tmp_path_factory.mktemp("https"), authority) as server:
        yield server


@pytest.fixture
def server(running: HttpsServer) -> HttpsServer:
    running.seen.clear()
    running.answer = lambda _: json_of({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300})
    return running


@pytest.fixture
def endpoint(server: HttpsServer) -> Iterator[TokenEndpoint]:
    made = endpoint_of(server)
    yield made
    made._client.close()


def endpoint_of(server: HttpsServer, **said: Any) -> TokenEndpoint:
    usual: dict[str, Any] = {"client_secret": SECRET, "ca_file": server.ca_file, "timeout_seconds": 10}
    return TokenEndpoint(f"{server.url}/token", "orders", **(usual | said))


def failure(source: Callable[[], object]) -> str:
    """Return what is said of a failure, once it is sure that nobody is told the secret."""
    with pytest.raises(TokenUnavailable) as caught:
        source()
    whole = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    for secret in (SECRET, "hunter2", TOKEN, base64.b64encode(SECRET.encode()).decode()):
        assert secret not in whole
    return str(caught.value)


# --- what is asked -----------------------------------------------------------------------------------------------


def test_a_service_asks_for_a_token_of_its_own(server: HttpsServer, endpoint: TokenEndpoint) -> None:
    source = client_credentials(endpoint, scope="read write", resource="https://orders.example.org")
    assert (source(), source()) == (TOKEN, TOKEN)
    [seen] = server.seen
    assert (seen.verb, seen.path) == ("POST", "/token")
    assert seen.form == {
        "grant_type": "client_credentials",
        "scope": "read write",
        "resource": "https://orders.example.org",
    }
    name, _, secret = base64.b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert (unquote_plus(name), unquote_plus(secret)) == ("orders", SECRET)


def test_what_is_not_said_is_not_asked_for(server: HttpsServer, endpoint: TokenEndpoint) -> None:
    client_credentials(endpoint)()
    assert server.seen[0].form == {"grant_type": "client_credentials"}


def test_a_token_is_exchanged_in_the_form_of_rfc_8693(server: HttpsServer, endpoint: TokenEndpoint) -> None:
    assert token_exchange(endpoint, lambda: "the-users", "invoices")() == TOKEN
    assert server.seen[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "the-users",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": "invoices",
    }


def test_without_a_token_to_exchange_nobody_is_asked(server: HttpsServer, endpoint: TokenEndpoint) -> None:
    def none() -> str:
        raise TokenUnavailable("no user today")

    assert failure(token_exchange(endpoint, none, "invoices")) == "no user today"
    assert server.seen == []


def test_where_our_certificate_says_who_we_are_no_secret_is_sent(authority: Authority, tmp_path: Path) -> None:
    pem, key = tmp_path / "client.pem", tmp_path / "client.key"
    authority.issue(client_request("orders", "example.org")).write(pem, key)
    with https_server(tmp_path / "server", authority, clients=authority) as server:
        server.answer = lambda _: json_of({"access_token": TOKEN})
        endpoint = endpoint_of(server, client_secret="", certificate_file=pem, key_file=key)
        assert client_credentials(endpoint)() == TOKEN
        [seen] = server.seen
        assert seen.form == {"grant_type": "client_credentials", "client_id": "orders"}
        assert "authorization" not in seen.headers
        nobody = endpoint_of(server)
        failure(client_credentials(nobody))
        assert len(server.seen) == 1
        for each in (endpoint, nobody):
            each._client.close()


# --- what is answered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "lifetime"),
    [({}, DEFAULT_LIFETIME_SECONDS), ({"expires_in": 5}, 5.0), ({"expires_in": 0.5}, 0.5)],
)
def test_how_long_a_token_lasts_is_what_its_issuer_says(
    server: HttpsServer, endpoint: TokenEndpoint, answer: dict[str, Any], lifetime: float
) -> None:
    server.answer = lambda _: json_of({"access_token": TOKEN, **answer})
    assert endpoint.ask({}) == (TOKEN, lifetime)


async def silent(_: Seen) -> Response:
    await asyncio.sleep(6)
    return json_of({"access_token": TOKEN})


async def dripping(_: Seen) -> Response:
    """Never wait long between two bytes: only a limit for the whole ends this."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(60):
            yield b" "
            await asyncio.sleep(0.1)

    return StreamingResponse(parts())


def echoing(seen: Seen) -> Response:
    """Repeat in the text of the refusal what was sent, as debugging endpoints do."""
    return json_of({"error": "invalid_client", "error_description": f"{seen.headers} {seen.form} {SECRET}"}, 401)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (silent, "ReadTimeout"),
        (dripping, "answers too much, or too slowly"),
        (lambda _: Response(bytes(2_000_000)), "answers too much, or too slowly"),
        (echoing, "answered 401 invalid_client"),
        (lambda _: json_of({"error": "x" * 1000}, 400), f"answered 400 {'x' * 64}"),
        (lambda _: json_of({"access_token": TOKEN}, 201), "answered 201"),
        (lambda _: json_of({"access_token": TOKEN}, 500), "answered 500"),
        (lambda _: RedirectResponse("/elsewhere"), "answered 307"),
        (lambda _: Response(b""), "answered 200"),
        (lambda _: Response(b"<html>"), "answered 200"),
        (lambda _: json_of([TOKEN]), "answered 200"),
        (lambda _: json_of({}), "answered without a token"),
        (lambda _: json_of({"access_token": ""}), "answered without a token"),
        (lambda _: json_of({"access_token": 5}), "answered without a token"),
        (lambda _: json_of({"access_token": TOKEN, "expires_in": "soon"}), "answered without a token"),
        (lambda _: json_of({"access_token": TOKEN, "expires_in": None}), "answered without a token"),
    ],
)
def test_any_other_answer_is_no_token_and_tells_no_secret(
    server: HttpsServer, endpoint: TokenEndpoint, answer: Callable[[Seen], Any], told: str
) -> None:
    server.answer = answer
    impatient = endpoint_of(server, timeout_seconds=0.5)
    said = failure(client_credentials(impatient if answer in {silent, dripping} else endpoint))
    impatient._client.close()
    assert said.startswith(f"{server.url}/token")
    assert told in said
    assert {seen.path for seen in server.seen} == {"/token"}


def test_a_server_of_an_authority_that_is_not_trusted_is_not_asked(server: HttpsServer, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority.create("other").certificate_pem)
    for ca_file in (other, None):
        endpoint = endpoint_of(server, ca_file=ca_file)
        assert "ConnectError" in failure(client_credentials(endpoint))
        endpoint._client.close()
    assert server.seen == []


@pytest.mark.parametrize("url", ["http://issuer.example.org/token", "https://me:hunter2@issuer.example.org"])
def test_an_endpoint_is_spoken_to_by_https(url: str) -> None:
    with pytest.raises(ValueError, match="begins with https:// and holds no password"):
        TokenEndpoint(url, "orders", SECRET)


def test_a_file_that_cannot_be_used_is_named(server: HttpsServer, tmp_path: Path) -> None:
    for said in ({"ca_file": tmp_path / "none.pem"}, {"certificate_file": tmp_path / "none.pem"}):
        with pytest.raises(ConfigurationError, match=r"none\.pem"):
            endpoint_of(server, **said)
