"""Who was verified is remembered by what was shown, and never for longer than that holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from secure_rpc import errors
from secure_rpc.call import Peer, Principal
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.principal import Credential, Identities, Shown
from secure_rpc.identity.tokens import TokenVerifier

from support.clocks import Clock

ALICE = Caller(subject="alice", tenants=("acme",), groups=("admins",))
WORKLOAD = "spiffe://example.org/client/orders"


def pem_of(authority: Authority, uri: str = WORKLOAD) -> bytes:
    return authority.issue(Request("orders", uris=[uri])).certificate_pem


def peer_of(pem: bytes) -> Peer:
    return Peer("ipv4:127.0.0.1:1", {"x509_pem_cert": [pem]})


@dataclass
class World:
    """Identities at a time of the test's choosing, and a certificate to show."""

    tokens: TokenVerifier
    pem: bytes
    clock: Clock = field(default_factory=Clock)

    def identities(self, credential: Credential = Credential.BOTH, size: int = 10) -> Identities:
        return Identities(
            certificate_reader("example.org"), self.tokens, None, {credential}, size=size, clock=self.clock
        )

    def shown(self, token: str = "", pem: bytes | None = None) -> Shown:
        return Shown(self.pem if pem is None else pem, b"", f"Bearer {token}" if token else "", "")


@pytest.fixture(scope="session")
def pem(authority: Authority) -> bytes:
    return pem_of(authority)


@pytest.fixture
def world(verifier: TokenVerifier, pem: bytes) -> World:
    return World(verifier, pem)


async def identify(identities: Identities, shown: Shown) -> Principal:
    """Do what the stage does."""
    return identities.known(shown) or await identities.verify(shown)


async def reason(identities: Identities, shown: Shown) -> str:
    with pytest.raises(errors.Unauthenticated) as caught:
        await identify(identities, shown)
    return caught.value.reason


async def test_certificate_and_token_make_one_principal(world: World, issuer: TokenIssuer) -> None:
    expiry = int(world.clock()) + 60
    token = issuer.token(ALICE, exp=expiry, roles=["auditor"])
    principal = await identify(world.identities(), world.shown(token))
    assert (principal.workload, principal.issuer, principal.subject) == (WORKLOAD, issuer.issuer, "alice")
    assert (principal.tenants, principal.groups, principal.roles) == (
        frozenset({"acme"}),
        frozenset({"admins"}),
        frozenset({"auditor"}),
    )
    assert principal.proofs == ("certificate", "token")
    assert principal.expires_at_seconds == expiry + 30


async def test_a_principal_is_printed_without_claims_and_secrets(world: World, issuer: TokenIssuer) -> None:
    token = issuer.token(ALICE, nickname="hunter2")
    principal = await identify(world.identities(), world.shown(token))
    assert principal.claims["nickname"] == "hunter2"
    for text in (str(principal), repr(principal)):
        assert "alice" in text
        assert "hunter2" not in text
        assert token not in text
    assert str(principal) == (f"alice of {issuer.issuer} by {WORKLOAD}, tenants acme, proven by certificate and token")
    assert str(Principal()) == "nobody, proven by nothing"


async def test_a_principal_ends_with_the_first_of_its_proofs(world: World, issuer: TokenIssuer) -> None:
    end = certificate_reader("example.org")(world.pem, b"").not_after_seconds
    token = issuer.token(ALICE, exp=int(end) + 1000)
    assert (await identify(world.identities(), world.shown(token))).expires_at_seconds == end


async def test_who_was_verified_is_known_the_next_time(world: World, issuer: TokenIssuer) -> None:
    identities, shown = world.identities(), world.shown(issuer.token(ALICE))
    assert await identify(identities, shown) is await identify(identities, shown)
    assert (identities.use.hits, identities.use.misses) == (1, 1)


async def test_a_token_is_known_only_together_with_its_certificate(
    world: World, authority: Authority, issuer: TokenIssuer
) -> None:
    identities, token = world.identities(), issuer.token(ALICE)
    await identify(identities, world.shown(token))
    other = await identify(identities, world.shown(token, pem_of(authority, f"{WORKLOAD}-2")))
    assert other.workload == f"{WORKLOAD}-2"
    assert identities.use.hits == 0


@pytest.mark.parametrize("part", Shown._fields)
async def test_whatever_else_is_shown_is_somebody_else(world: World, issuer: TokenIssuer, part: str) -> None:
    identities, shown = world.identities(), world.shown(issuer.token(ALICE))
    await identify(identities, shown)
    changed: dict[str, Any] = {part: b"other" if part.endswith("pem") else "other"}
    other = shown._replace(**changed)
    assert identities.known(other) is None


async def test_nobody_is_known_beyond_the_end_of_the_token(world: World, issuer: TokenIssuer) -> None:
    identities, expiry = world.identities(), int(world.clock()) + 60
    shown = world.shown(issuer.token(ALICE, exp=expiry))
    await identify(identities, shown)
    world.clock.now = expiry + 30 - 0.001
    await identify(identities, shown)
    assert (identities.use.hits, identities.use.misses) == (1, 1)
    world.clock.now = expiry + 30
    await identify(identities, shown)  # verified anew; the token's own times are held against the system's clock
    assert (identities.use.hits, identities.use.misses) == (1, 2)


async def test_nobody_is_known_beyond_the_end_of_the_certificate(world: World) -> None:
    identities = world.identities(Credential.CERTIFICATE)
    end = (await identify(identities, world.shown())).expires_at_seconds
    world.clock.now = end - 0.001
    assert (await identify(identities, world.shown())).workload == WORKLOAD
    world.clock.now = end
    assert await reason(identities, world.shown()) == "CERTIFICATE_EXPIRED"
    with pytest.raises(errors.Unauthenticated) as caught:
        identities.check_certificate(peer_of(world.pem))
    assert caught.value.reason == "CERTIFICATE_EXPIRED"


async def test_a_certificate_that_is_not_valid_yet_is_refused(world: World) -> None:
    world.clock.pass_(-86_400)
    assert await reason(world.identities(Credential.CERTIFICATE), world.shown()) == "CERTIFICATE_EXPIRED"


async def test_no_more_are_remembered_than_told(world: World, issuer: TokenIssuer) -> None:
    identities = world.identities(size=3)
    for number in range(20):
        await identify(identities, world.shown(issuer.token(Caller(subject=str(number)))))
        assert len(identities) <= 3
    assert identities.use.evictions == 17


async def test_the_one_unused_for_longest_goes_first(world: World, issuer: TokenIssuer) -> None:
    identities = world.identities(size=2)
    first, second, third = (world.shown(issuer.token(Caller(subject=name))) for name in ("a", "b", "c"))
    for shown in (first, second, first, third):  # the second is now the oldest
        await identify(identities, shown)
    assert identities.known(first) is not None
    assert identities.known(second) is None


async def test_who_is_refused_is_not_remembered(world: World) -> None:
    identities = world.identities()
    for _ in range(2):
        assert await reason(identities, world.shown("a.b.c")) == "TOKEN_MALFORMED"
    assert (identities.use.misses, len(identities)) == (2, 0)


async def test_who_is_refused_a_thousand_times_leaves_nothing_behind(world: World, authority: Authority) -> None:
    """An error that is raised again and again keeps each frame that it has passed through, and all of their calls."""
    foreign = pem_of(authority, "spiffe://other.example/a")
    certificate_of = certificate_reader("example.org")
    accepted = {Credential.CERTIFICATE}
    identities = Identities(certificate_of, world.tokens, None, accepted, clock=world.clock)
    for _ in range(1000):
        assert await reason(identities, world.shown(pem=foreign)) == "TRUST_DOMAIN_UNKNOWN"
    kept = certificate_of(foreign, b"").refusal
    assert kept is not None
    frames, trace = 0, kept.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    assert frames < 10


# --- forgetting ------------------------------------------------------------------------------------------------


async def test_everybody_is_verified_anew_after_forget(world: World, issuer: TokenIssuer) -> None:
    identities, shown = world.identities(), world.shown(issuer.token(ALICE))
    await identify(identities, shown)
    identities.forget()
    await identify(identities, shown)
    assert (identities.use.hits, identities.use.misses) == (0, 2)


async def test_who_was_being_verified_when_all_were_forgotten_is_not_remembered(
    world: World, issuer: TokenIssuer
) -> None:
    """A key that is not known yet makes the verification wait for a fetch; meanwhile another key is retired."""
    [store] = world.tokens.stores.values()
    fetch, fetching, may_go_on = store._fetch, asyncio.Event(), asyncio.Event()

    async def slow() -> bytes:
        fetching.set()
        await may_go_on.wait()
        return await fetch()

    store._fetch, store._keys, store._tried_at = slow, {}, float("-inf")
    identities, shown = world.identities(), world.shown(issuer.token(ALICE))
    waiting = asyncio.create_task(identities.verify(shown))
    await fetching.wait()
    identities.forget()
    may_go_on.set()
    assert (await waiting).subject == "alice"
    store._fetch = fetch
    assert identities.known(shown) is None
    assert len(identities) == 0
    await identify(identities, shown)
    assert len(identities) == 1


# --- for the audit ---------------------------------------------------------------------------------------------


async def test_the_workload_is_told_also_where_the_token_was_refused(world: World, authority: Authority) -> None:
    identities = world.identities()
    assert identities.workload_of(peer_of(world.pem)) == WORKLOAD
    assert identities.workload_of(peer_of(pem_of(authority, "spiffe://other.example/a"))) == ""
    assert identities.workload_of(Peer("ipv4:127.0.0.1:1", {})) == ""
