"""An authority and an issuer that the tests of identity believe."""

from __future__ import annotations

import pytest

from secure_rpc.dev.authority import Authority
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.identity.token import Issuer, TokenVerifier


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
