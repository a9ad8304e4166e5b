"""A provider's keys and answers: they change, they are asked for too often, they cannot be had, they are none."""

from __future__ import annotations

import secrets
import subprocess
import time
from base64 import urlsafe_b64encode
from json import dumps
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.oidc.asserting import assert_allowed, assert_refused
from tests.oidc.calling import OPAQUE
from tests.oidc.provider import SECONDS
from tests.oidc.service import issuer_of, policy_for, settings_in, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.oidc.calling import Callers, Outcome
    from tests.oidc.fixtures import Start
    from tests.oidc.provider import Provider
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures"]
pytestmark = pytest.mark.slow

BOUNDED_SECONDS = 10.0  # long past all that is waited for, also where the machine has other things to do
INTERVAL_SECONDS, STALE_SECONDS = 2, 4
UNAVAILABLE = "UNAVAILABLE", "TOKEN_KEYS_UNAVAILABLE"


def ended(outcome: Outcome, code: str, reason: str = "") -> Outcome | None:
    """Return a call that has ended so, None where it ended otherwise."""
    return outcome if (outcome.code, outcome.reason) == (code, reason) else None


@pytest.fixture(scope="module")
def provider(new_provider: Callable[[], Provider]) -> Provider:
    """Return a provider that no service but those of this file asks: what it is asked is counted."""
    return new_provider()


# --- what changes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changing(new_provider: Callable[[], Provider]) -> Provider:
    return new_provider()


@pytest.fixture(scope="module")
def watchful(changing: Provider, oidc_files: Path, start: Start) -> Service:
    """Return a service that looks often."""
    keys = {"refresh_seconds": 1, "minimum_interval_seconds": 0.5}
    introspection = {"cache_seconds": 1, "negative_cache_seconds": 0}
    return start(changing, issuer_of(changing, oidc_files, keys=keys, introspection=introspection))


def test_a_retired_key_counts_no_more(callers: Callers, watchful: Service, changing: Provider) -> None:
    old = callers.token(changing, "orders")
    assert_allowed(watchful, callers.call(watchful, old), changing.issuer, "orders")
    changing.hook("rotate")
    new = callers.token(changing, "orders")
    first = until(lambda: ended(callers.call(watchful, new), "OK"), BOUNDED_SECONDS)
    assert_allowed(watchful, first, changing.issuer, "orders")
    assert_allowed(watchful, callers.call(watchful, old), changing.issuer, "orders")

    changing.hook("retire")
    refused = until(lambda: ended(callers.call(watchful, old), "UNAUTHENTICATED", "TOKEN_KEY_UNKNOWN"), BOUNDED_SECONDS)
    assert_refused(watchful, refused, "UNAUTHENTICATED", "TOKEN_KEY_UNKNOWN", issuer="", subject="")
    assert_allowed(watchful, callers.call(watchful, new), changing.issuer, "orders")


def test_a_revoked_token_counts_no_more(callers: Callers, watchful: Service, changing: Provider) -> None:
    token, other = (callers.token(changing, "orders", OPAQUE) for _ in range(2))
    for each in (token, token, other):
        assert_allowed(watchful, callers.call(watchful, each), changing.issuer, "orders")
    changing.revoke("orders", token)
    refused = until(lambda: ended(callers.call(watchful, token), "UNAUTHENTICATED", "TOKEN_INACTIVE"), BOUNDED_SECONDS)
    assert_refused(watchful, refused, "UNAUTHENTICATED", "TOKEN_INACTIVE", issuer="", subject="")
    assert_allowed(watchful, callers.call(watchful, other), changing.issuer, "orders")


# --- when nobody answers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing(new_provider: Callable[[], Provider]) -> Provider:
    return new_provider()


@pytest.fixture(scope="module")
def patient(failing: Provider, oidc_files: Path, start: Start) -> Service:
    """Return a service that does without the provider for a while."""
    keys = {"refresh_seconds": 0.5, "minimum_interval_seconds": 0.3, "stale_limit_seconds": STALE_SECONDS}
    return start(failing, issuer_of(failing, oidc_files, keys=keys, fetch={"timeout_seconds": 0.5}))


class Outage(NamedTuple):
    """How a provider fails, and how it comes back."""

    begin: Callable[[], None]
    end: Callable[[], None]


@pytest.fixture(params=["gone", "silent"])
def outage(request: pytest.FixtureRequest, failing: Provider) -> Iterator[Outage]:
    if request.param == "gone":
        yield Outage(failing.stop, failing.start)
        if failing.ended:
            failing.start()
    else:
        yield Outage(failing.freeze, failing.thaw)
        failing.thaw()


def test_without_the_provider_its_keys_do_for_a_while(
    callers: Callers, patient: Service, failing: Provider, outage: Outage
) -> None:
    known, unseen = (callers.token(failing, "orders") for _ in range(2))
    until(lambda: ended(callers.call(patient, known), "OK"), BOUNDED_SECONDS)

    def failures() -> float:
        return patient.metric("secure_rpc_issuer_key_fetches", issuer=failing.issuer, result="failed")

    def age_seconds() -> float:
        return patient.metric("secure_rpc_issuer_keys_age_seconds", issuer=failing.issuer)

    before = failures()
    outage.begin()
    until(lambda: failures() > before, BOUNDED_SECONDS)
    for token in (known, unseen):
        assert_allowed(patient, callers.call(patient, token), failing.issuer, "orders")
    assert age_seconds() < STALE_SECONDS

    refused = until(lambda: ended(callers.call(patient, unseen), *UNAVAILABLE), BOUNDED_SECONDS)
    assert_refused(patient, refused, *UNAVAILABLE, issuer="", subject="")
    assert_refused(patient, callers.call(patient, known), *UNAVAILABLE, issuer="", subject="")
    assert age_seconds() >= STALE_SECONDS

    outage.end()
    fresh = callers.token(failing, "orders")
    back = until(lambda: ended(callers.call(patient, fresh), "OK"), BOUNDED_SECONDS)
    assert_allowed(patient, back, failing.issuer, "orders")
    assert age_seconds() < STALE_SECONDS


# --- what is no answer, and no question --------------------------------------------------------------------

BAD = {
    "redirected": ("/test/redirected-keys", "answered 307"),
    "large": ("/test/large-keys", "answered with more than 1000000 bytes"),
    "dripping": ("/test/dripping-keys", "TimeoutError"),
    "impostor": ("/jwks", "CERTIFICATE_VERIFY_FAILED"),
}


@pytest.fixture(scope="module")
def wary(provider: Provider, oidc_files: Path, start: Start) -> Service:
    """Return a service that believes the provider, and has issuers whose keys it must not take from there."""
    bad = [
        issuer_of(
            provider,
            oidc_files,
            issuer=f"https://{name}.example.org",
            jwks_url=provider.issuer + path,
            fetch={"timeout_seconds": 1} | ({"ca_file": str(oidc_files / "foreign.pem")} if name == "impostor" else {}),
        )
        for name, (path, _) in BAD.items()
    ]
    keys = {"minimum_interval_seconds": INTERVAL_SECONDS}
    return start(provider, issuer_of(provider, oidc_files, keys=keys), *bad)


@pytest.mark.parametrize("name", BAD)
def test_no_key_is_taken_from_just_anywhere(callers: Callers, wary: Service, provider: Provider, name: str) -> None:
    issuer = f"https://{name}.example.org"
    outcome = callers.call(wary, provider.sign({"iss": issuer, "aud": "order-service", "client_id": "orders"}))
    assert_refused(wary, outcome, *UNAVAILABLE, issuer="", subject="")
    assert wary.metric("secure_rpc_issuer_key_fetches", issuer=issuer, result="ok") == 0
    assert wary.metric("secure_rpc_issuer_key_fetches", issuer=issuer, result="failed") > 0
    (said, *_) = [line for line in wary.log(outcome).splitlines() if f"the keys of {issuer} cannot be had" in line]
    assert BAD[name][1] in said
    assert_allowed(wary, callers.call(wary, callers.token(provider, "orders")), provider.issuer, "orders")


def test_a_client_shows_its_secret_to_nobody_it_is_sent_to(callers: Callers, provider: Provider) -> None:
    before = len(provider.requests("/token"))
    told = callers.asked_for_a_token(provider, "orders", path="/test/redirected-token")
    assert told == {"error": f"{provider.issuer}/test/redirected-token answered 307 "}
    assert len(provider.requests("/token")) == before


def test_keys_are_not_fetched_in_plaintext(oidc_folder: Path, oidc_files: Path, provider: Provider) -> None:
    url = provider.issuer.replace("https://", "http://") + "/jwks"
    issuer = issuer_of(provider, oidc_files, jwks_url=url)
    path = settings_in(oidc_folder, oidc_files / "plaintext", [issuer], policy_for(provider))
    done = subprocess.run(
        [oidc_folder / ".venv" / "bin" / "order-service", "serve", "--config", path],
        cwd=oidc_folder, check=False, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 78  # EX_CONFIG of sysexits.h
    assert f"\"authentication.issuers.0.jwks_url\" is '{url}': an issuer's address begins with https://" in done.stderr
    assert "Traceback" not in done.stderr


def test_attack_key_ids_that_nobody_has_do_not_decide_how_often_the_provider_is_asked(
    callers: Callers, wary: Service, provider: Provider
) -> None:
    claims = {"iss": provider.issuer, "aud": "order-service", "client_id": "orders", "iat": 0, "exp": 2**33}

    def bogus() -> str:
        header = {"alg": "RS256", "typ": "at+jwt", "kid": secrets.token_hex(8)}
        parts = dumps(header).encode(), dumps(claims).encode(), secrets.token_bytes(256)
        return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    before, started = len(provider.requests("/jwks")), time.monotonic()
    outcomes = callers.calls(wary, [bogus() for _ in range(2000)])
    seconds = time.monotonic() - started
    asked = provider.requests("/jwks")[before:]
    assert {(outcome.code, outcome.reason) for outcome in outcomes} == {("UNAUTHENTICATED", "TOKEN_KEY_UNKNOWN")}
    assert_refused(wary, outcomes[-1], "UNAUTHENTICATED", "TOKEN_KEY_UNKNOWN", issuer="", subject="")
    # the refresh that is due anyway may be among them, and one that was under way
    assert 1 <= len(asked) <= 3 + seconds / INTERVAL_SECONDS
    assert_allowed(wary, callers.call(wary, callers.token(provider, "orders")), provider.issuer, "orders")
