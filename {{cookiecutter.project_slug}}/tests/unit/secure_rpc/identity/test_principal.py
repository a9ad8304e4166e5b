"""Certificate and token become a principal, which is remembered, and never for longer than they hold."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from secure_rpc import errors
from secure_rpc.call import Peer
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.principal import Credentials, Identities
from secure_rpc.identity.token import TokenVerifier

NOW = time.time()
ALICE = Caller(subject="alice", tenants=("acme",), groups=("admins",))
WORKLOAD = "spiffe://example.org/client/orders"


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """Identities at a time of the test's choosing."""

    tokens: TokenVerifier
    clock: Clock = field(default_factory=Clock)

    def identities(self, demand: Credentials = Credentials.BOTH, size: int = 10) -> Identities:
        reader = certificate_reader(frozenset({"example.org"}))
        return Identities(reader, self.tokens, demand, size=size, clock=self.clock)


@pytest.fixture
def world(verifier: TokenVerifier) -> World:
    return World(verifier)


@pytest.fixture(scope="session")
def peer(authority: Authority) -> Peer:
    return peer_of(authority, WORKLOAD)


def peer_of(authority: Authority, uri: str) -> Peer:
    pem = authority.issue(Request("orders", uris=[uri])).certificate_pem
    return Peer("ipv4:127.0.0.1:1", {"x509_pem_cert": [pem]})


def test_certificate_and_token_make_one_principal(world: World, peer: Peer, issuer: TokenIssuer) -> None:
    expiry = int(NOW) + 3000  # PyJWT looks at the real clock, however long the tests before this one took
    principal = world.identities().identify(peer, f"Bearer {issuer.token(ALICE, exp=expiry)}")
    assert (principal.workload, principal.issuer, principal.subject) == (WORKLOAD, issuer.issuer, "alice")
    assert (principal.tenants, principal.groups) == (frozenset({"acme"}), frozenset({"admins"}))
    assert principal.proofs == ("certificate", "token")
    assert principal.expires_at_seconds == expiry + 30


def test_a_principal_ends_with_the_first_of_its_proofs(world: World, authority: Authority, issuer: TokenIssuer) -> None:
    peer = peer_of(authority, WORKLOAD)
    [pem] = peer.tls["x509_pem_cert"]
    end = certificate_reader(frozenset({"example.org"}))(pem).not_after_seconds
    token = issuer.token(ALICE, exp=int(end) + 1000)
    assert world.identities().identify(peer, f"Bearer {token}").expires_at_seconds == end


def test_a_token_is_demanded_with_both(world: World, peer: Peer) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        world.identities(Credentials.BOTH).identify(peer, "")
    assert caught.value.reason == "TOKEN_MISSING"


def test_a_certificate_is_enough_where_it_says_so(world: World, peer: Peer) -> None:
    principal = world.identities(Credentials.CERTIFICATE).identify(peer, "")
    assert (principal.workload, principal.subject, principal.proofs) == (WORKLOAD, "", ("certificate",))


def test_a_bad_token_is_refused_also_where_none_is_demanded(world: World, peer: Peer) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        world.identities(Credentials.CERTIFICATE).identify(peer, "Bearer a.b.c")
    assert caught.value.reason == "TOKEN_MALFORMED"


def test_a_token_without_certificate_is_refused(world: World, issuer: TokenIssuer) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        world.identities().identify(Peer("ipv4:127.0.0.1:1", {}), f"Bearer {issuer.token(ALICE)}")
    assert caught.value.reason == "CERTIFICATE_MISSING"


def test_who_was_verified_is_known_the_next_time(world: World, peer: Peer, issuer: TokenIssuer) -> None:
    identities, header = world.identities(), f"Bearer {issuer.token(ALICE)}"
    assert identities.identify(peer, header) is identities.identify(peer, header)
    assert (identities.use.hits, identities.use.misses) == (1, 1)


def test_a_token_is_known_only_together_with_its_certificate(
    world: World, peer: Peer, authority: Authority, issuer: TokenIssuer
) -> None:
    identities, header = world.identities(), f"Bearer {issuer.token(ALICE)}"
    identities.identify(peer, header)
    other = identities.identify(peer_of(authority, f"{WORKLOAD}-2"), header)
    assert other.workload == f"{WORKLOAD}-2"
    assert identities.use.hits == 0


def test_nobody_is_known_beyond_the_end_of_the_token(world: World, peer: Peer, issuer: TokenIssuer) -> None:
    identities, expiry = (
        world.identities(),
        int(NOW) + 3000,
    )  # PyJWT looks at the real clock, however long the tests before this one took
    header = f"Bearer {issuer.token(ALICE, exp=expiry)}"
    identities.identify(peer, header)
    world.clock.now = expiry + 30 - 0.001
    identities.identify(peer, header)
    assert (identities.use.hits, identities.use.misses) == (1, 1)
    world.clock.now = expiry + 30
    identities.identify(peer, header)  # verified anew; the token's own times are held against the system's clock
    assert (identities.use.hits, identities.use.misses) == (1, 2)


def test_nobody_is_known_beyond_the_end_of_the_certificate(world: World, peer: Peer) -> None:
    identities = world.identities(Credentials.CERTIFICATE)
    end = identities.identify(peer, "").expires_at_seconds
    world.clock.now = end - 0.001
    assert identities.identify(peer, "").workload == WORKLOAD
    world.clock.now = end
    for use in (lambda: identities.identify(peer, ""), lambda: identities.check_certificate(peer)):
        with pytest.raises(errors.Unauthenticated) as caught:
            use()
        assert caught.value.reason == "CERTIFICATE_EXPIRED"


def test_a_certificate_that_is_not_valid_yet_is_refused(world: World, peer: Peer) -> None:
    world.clock.now = NOW - 86_400
    with pytest.raises(errors.Unauthenticated) as caught:
        world.identities(Credentials.CERTIFICATE).identify(peer, "")
    assert caught.value.reason == "CERTIFICATE_EXPIRED"


def test_no_more_are_remembered_than_told(world: World, peer: Peer, issuer: TokenIssuer) -> None:
    identities = world.identities(size=3)
    for number in range(20):
        identities.identify(peer, f"Bearer {issuer.token(Caller(subject=str(number)))}")
        assert len(identities._known) <= 3
    assert identities.use.evictions == 17


def test_the_one_unused_for_longest_goes_first(world: World, peer: Peer, issuer: TokenIssuer) -> None:
    identities = world.identities(size=2)
    first, second, third = (f"Bearer {issuer.token(Caller(subject=name))}" for name in ("a", "b", "c"))
    for header in (first, second, first, third):  # the second is now the oldest
        identities.identify(peer, header)
    hits = identities.use.hits
    identities.identify(peer, first)
    assert identities.use.hits == hits + 1
    identities.identify(peer, second)
    assert identities.use.hits == hits + 1


def test_who_is_refused_is_not_remembered(world: World, peer: Peer) -> None:
    identities = world.identities()
    for _ in range(2):
        with pytest.raises(errors.Unauthenticated):
            identities.identify(peer, "Bearer a.b.c")
    assert (identities.use.misses, len(identities._known)) == (2, 0)


def test_everybody_is_verified_anew_after_forget(world: World, peer: Peer, issuer: TokenIssuer) -> None:
    identities, header = world.identities(), f"Bearer {issuer.token(ALICE)}"
    identities.identify(peer, header)
    identities.forget()
    identities.identify(peer, header)
    assert (identities.use.hits, identities.use.misses) == (0, 2)


def test_the_workload_is_told_also_where_the_token_was_refused(world: World, peer: Peer, authority: Authority) -> None:
    identities = world.identities()
    assert identities.workload_of(peer) == WORKLOAD
    assert identities.workload_of(peer_of(authority, "spiffe://other.example/a")) == ""
    assert identities.workload_of(Peer("ipv4:127.0.0.1:1", {})) == ""
