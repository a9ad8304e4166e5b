"""A service believes the tokens of a certified OpenID provider: as far as it has to, and no further."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.oidc.asserting import assert_allowed, assert_refused
from tests.oidc.calling import JWT, JWT_ES256, OPAQUE
from tests.oidc.service import DEVELOPMENT, INTERNAL, issuer_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oidc.calling import Callers
    from tests.oidc.fixtures import Start
    from tests.oidc.provider import Provider
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures"]
pytestmark = pytest.mark.slow

OTHER = "spiffe://example.org/client/other"
REFUSED = "the token is not accepted"
PARTNER = "https://partner.example.org"
EXCHANGE = "/secure_rpc.v1.TokenExchangeService/Exchange"


@pytest.fixture(scope="module")
def service(provider: Provider, oidc_files: Path, start: Start) -> Service:
    """Return a service that believes the provider, the development issuer, and its own exchange."""
    internal = {"issuer": INTERNAL, "jwks_file": str(oidc_files / "exchange.json"), "audiences": ["order-service"]}
    key_file, audiences = str(oidc_files / "exchange.key"), ["order-service", "stock"]
    exchange = {"issuer": INTERNAL, "key_file": key_file, "audiences": audiences}
    partner = issuer_of(provider, oidc_files, issuer=PARTNER, trust_domain="partner.example.org")
    return start(provider, issuer_of(provider, oidc_files), internal, partner, exchange=exchange)


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


# --- whose tokens are believed -----------------------------------------------------------------------------


@pytest.mark.parametrize("resource", [JWT, JWT_ES256, OPAQUE])
def test_a_client_gets_its_token_by_itself(
    callers: Callers, service: Service, provider: Provider, resource: str
) -> None:
    before = len(provider.requests("/token"))
    outcomes = callers.call_with_source(service, provider, "orders", resource, times=5)
    for outcome in outcomes:
        assert_allowed(service, outcome, provider.issuer, "orders", tenant="acme", proofs=["certificate", "token"])
    assert len(provider.requests("/token")) == before + 1


@pytest.mark.parametrize("kind", ["RS256", "ES256", "opaque"])
def test_a_token_for_another_service_is_refused(
    callers: Callers, service: Service, provider: Provider, kind: str
) -> None:
    outcome = callers.call(service, callers.token(provider, "orders", f"urn:stock:{kind}"))
    reason = "TOKEN_INACTIVE" if kind == "opaque" else "TOKEN_AUDIENCE_WRONG"
    assert_refused(service, outcome, "UNAUTHENTICATED", reason, issuer="", subject="")
    assert outcome.message == REFUSED


@pytest.mark.parametrize("resource", [JWT, OPAQUE])
def test_a_bound_token_is_good_with_its_own_certificate_alone(
    callers: Callers, service: Service, provider: Provider, resource: str
) -> None:
    token = callers.token(provider, "bound", resource)
    proofs = ["certificate", "bound-token"]
    assert_allowed(service, callers.call(service, token), provider.issuer, "bound", proofs=proofs)
    stolen = callers.call(service, token, "other")
    assert (stolen.code, stolen.reason, stolen.message) == ("UNAUTHENTICATED", "TOKEN_INVALID", REFUSED)
    record = service.recorded(stolen)
    assert (record["reason"], record["workload"]) == ("TOKEN_BOUND_TO_ANOTHER_CERTIFICATE", OTHER)


@pytest.fixture(scope="module")
def alices(service: Service) -> str:
    """Return a token of the development issuer, for its alice."""
    return service.run("token", "new", "alice", "--config", str(service.settings))


def test_what_a_policy_gives_one_issuers_name_another_issuers_does_not_get(
    callers: Callers, service: Service, provider: Provider, alices: str
) -> None:
    assert_allowed(service, callers.call(service, alices), DEVELOPMENT, "alice")
    assert_allowed(service, callers.call(service, callers.token(provider, "orders")), provider.issuer, "orders")
    for token, issuer, subject in [
        (callers.token(provider, "alice"), provider.issuer, "alice"),
        (callers.development_token("orders", ["acme"], ["clerks"]), DEVELOPMENT, "orders"),
    ]:
        outcome = callers.call(service, token)
        who = {"issuer": issuer, "subject": subject, "rule": "no binding gives orders.write"}
        assert_refused(service, outcome, "PERMISSION_DENIED", "PERMISSION_MISSING", **who)


def test_an_issuer_cannot_speak_for_another(
    callers: Callers, service: Service, provider: Provider, alices: str
) -> None:
    claims = {"iss": DEVELOPMENT, "aud": "order-service", "sub": "alice", "tenant": "acme", "groups": ["admins"]}
    header = json.loads(base64.urlsafe_b64decode(alices.partition(".")[0] + "=="))
    for kid, reason in [("RS256-1", "TOKEN_KEY_UNKNOWN"), (header["kid"], "TOKEN_ALGORITHM_REFUSED")]:
        outcome = callers.call(service, provider.sign(claims, kid=kid))
        assert_refused(service, outcome, "UNAUTHENTICATED", reason, issuer="", subject="")


@pytest.mark.parametrize("resource", [JWT, OPAQUE])
def test_groups_and_tenants_stand_where_the_issuer_puts_them(
    callers: Callers, service: Service, provider: Provider, resource: str
) -> None:
    token = callers.token(provider, "clerk", resource)  # its role comes by "realm_access.roles"
    assert_allowed(service, callers.call(service, token), provider.issuer, "clerk", tenant="acme")


# --- opaque tokens -----------------------------------------------------------------------------------------


def test_an_opaque_token_is_asked_about_once_however_many_wait(
    callers: Callers, service: Service, provider: Provider
) -> None:
    token = callers.token(provider, "orders", OPAQUE)
    before = len(provider.requests("/token/introspection"))
    provider.hook("delay", 300)
    try:
        outcomes = callers.calls(service, [token] * 300)
    finally:
        provider.hook("delay", 0)
    assert {(outcome.code, outcome.message) for outcome in outcomes} == {("OK", "")}
    assert len(provider.requests("/token/introspection")) == before + 1
    assert_allowed(service, outcomes[-1], provider.issuer, "orders")


# --- exchange ----------------------------------------------------------------------------------------------


def test_a_token_is_exchanged_for_one_of_the_services_own(
    callers: Callers, service: Service, provider: Provider
) -> None:
    gateway = callers.token(provider, "gateway")
    soon = int(time.time()) + 60
    orders = {"client_id": "orders", "org": {"tenants": ["acme"]}, "exp": soon}
    given = provider.sign({"iss": provider.issuer, "aud": "order-service", **orders})
    exchanged = callers.exchange(service, gateway, given)
    audited = {"audience": "order-service"}
    assert_allowed(service, exchanged, provider.issuer, "gateway", method=EXCHANGE, fields=audited)
    token = exchanged.response["accessToken"]
    claims = claims_of(token)
    assert (claims["iss"], claims["sub"], claims["aud"]) == (INTERNAL, "orders", "order-service")
    assert (claims["tenant"], claims["act"], claims["origin"]) == (["acme"], {"sub": "gateway"}, provider.issuer)
    assert claims["exp"] == soon  # it lasts no longer than what it was given for
    assert_allowed(service, callers.call(service, token), INTERNAL, "orders", tenant="acme")

    elsewhere = callers.exchange(service, gateway, given, "stock")
    assert elsewhere.code == "OK"
    refused = callers.call(service, elsewhere.response["accessToken"])
    assert_refused(service, refused, "UNAUTHENTICATED", "TOKEN_AUDIENCE_WRONG")
    again = callers.exchange(service, gateway, token)
    assert claims_of(again.response["accessToken"])["exp"] == soon
    for secret in (gateway, given, token):
        for part in secret.split("."):
            assert part not in service.audit_file.read_text(encoding="utf-8")
            assert part not in service.log(refused)


@pytest.mark.parametrize(
    ("caller", "subject", "audience", "code", "reason"),
    [
        ("gateway", "orders", "billing", "INVALID_ARGUMENT", "EXCHANGE_AUDIENCE_UNKNOWN"),
        ("orders", "orders", "order-service", "PERMISSION_DENIED", "PERMISSION_MISSING"),
        ("gateway", "bound", "order-service", "UNAUTHENTICATED", "TOKEN_INVALID"),
    ],
    ids=["for an audience that is not allowed", "to a caller without the permission", "for a token of somebody else's"],
)
def test_no_token_is_exchanged(  # noqa: PLR0913, PLR0917  # a case each
    callers: Callers, service: Service, provider: Provider, caller: str, subject: str, audience: str, code: str,
    reason: str,
) -> None:  # fmt: skip
    given = callers.token(provider, subject)
    outcome = callers.exchange(service, callers.token(provider, caller), given, audience)
    shown = {} if reason == "PERMISSION_MISSING" else {"audience": audience}
    assert_refused(service, outcome, code, reason, method=EXCHANGE, subject=caller, fields=shown)
    assert given not in service.audit_file.read_text(encoding="utf-8") + service.log(outcome)


def test_a_token_that_only_a_partners_workloads_may_show_is_not_exchanged_for_ours(
    callers: Callers, service: Service, provider: Provider
) -> None:
    given = provider.sign({"iss": PARTNER, "aud": "order-service", "client_id": "orders"})
    outcome = callers.call(service, given)
    assert (outcome.reason, service.recorded(outcome)["reason"]) == ("TOKEN_INVALID", "TOKEN_FROM_FOREIGN_TRUST_DOMAIN")
    outcome = callers.exchange(service, callers.token(provider, "gateway"), given)
    assert_refused(service, outcome, "UNAUTHENTICATED", "TOKEN_INVALID", method=EXCHANGE, subject="gateway")
