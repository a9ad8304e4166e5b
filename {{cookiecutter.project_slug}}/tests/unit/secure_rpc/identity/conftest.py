"""An authority and an issuer that the tests of identity believe, and a server of the issuer's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secure_rpc.dev.authority import Authority
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.tokens import TokenVerifier

from support.clocks import Clock
from support.https import HttpsServer, https_server


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create("test CA")


@pytest.fixture(scope="session")
def issuer() -> TokenIssuer:
    return TokenIssuer("https://issuer.example.org", "orders")


@pytest.fixture(scope="session")
def rules(issuer: TokenIssuer, tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    folder = tmp_path_factory.mktemp("issuer")
    issuer.save(folder / "issuer.key", folder / "jwks.json")
    return Issuer(issuer=issuer.issuer, jwks_file=folder / "jwks.json", audiences=("orders",))


@pytest.fixture(scope="session")
def verifier(rules: Issuer) -> TokenVerifier:
    return TokenVerifier((rules,))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def running_server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    with https_server(tmp_path_factory.mktemp("https"), authority) as server:
        yield server


@pytest.fixture
def server(running_server: HttpsServer) -> HttpsServer:
    """Return the issuer's server, which has seen nobody and knows no answer yet."""
    running_server.seen.clear()
    running_server.answer = type(running_server)(0, running_server.ca_file).answer
    return running_server
