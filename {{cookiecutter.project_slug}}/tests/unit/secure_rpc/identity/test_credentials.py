"""What a call has to show, for each setting of what is accepted; and whom a token belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from secure_rpc import errors
from secure_rpc.call import Principal
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.identity import api_key
from secure_rpc.identity.api_key import ApiKeys
from secure_rpc.identity.certificate import certificate_reader
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.principal import Credential, Identities, Shown
from secure_rpc.identity.tokens import TokenVerifier

from support.clocks import Clock

ALICE = Caller(subject="alice", tenants=("acme",), groups=("admins",))
WORKLOAD = "spiffe://example.org/client/orders"
C, T, B, K = Credential.CERTIFICATE, Credential.TOKEN, Credential.BOTH, Credential.API_KEY
Accepted: TypeAlias = set[Credential]


@dataclass
class World:
    """Who may be believed, and all that somebody could show."""

    rules: Issuer
    issuer: TokenIssuer
    authority: Authority
    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.named = self.pem(WORKLOAD)
        self.nameless = self.pem()
        self.path = self.folder / "keys.yaml"
        expires = datetime.fromtimestamp(self.clock(), UTC) + timedelta(days=1)
        self.api_key, entry = api_key.new_key("batch", expires, ("acme",), ("jobs",))
        self.entry = entry
        api_key.save(self.path, {self.api_key.partition(".")[0]: entry})

    def pem(self, *uris: str) -> bytes:
        return self.authority.issue(Request("orders", uris=uris)).certificate_pem

    def identities(self, accepted: Accepted, **rules: Any) -> Identities:
        tokens = TokenVerifier((self.rules.model_copy(update=rules),))
        keys = ApiKeys(self.path, clock=self.clock) if K in accepted else None
        return Identities(certificate_reader("example.org"), tokens, keys, accepted, clock=self.clock)

    def token(self, **claims: Any) -> str:
        return self.issuer.token(ALICE, **claims)

    async def outcome(self, identities: Identities, shown: Shown) -> Principal | str:
        """Return who it is, or why not, as the record has it."""
        try:
            return await identities.verify(shown)
        except errors.Unauthenticated as error:
            return error.recorded_reason


@pytest.fixture
def world(rules: Issuer, issuer: TokenIssuer, authority: Authority, tmp_path: Path) -> World:
    return World(rules, issuer, authority, tmp_path)


NO_NAME, NO_TOKEN, NO_KEY, NOT_HERE = (
    "SPIFFE_ID_NOT_ONE",
    "TOKEN_MISSING",
    "API_KEY_MISSING",
    "CREDENTIAL_NOT_ACCEPTED",
)
BY_C, BY_CT, BY_T, BY_CK, BY_K = (
    ("certificate",),
    ("certificate", "token"),
    ("token",),
    ("certificate", "api-key"),
    ("api-key",),
)
Expected: TypeAlias = tuple[str, ...] | str

# what is accepted: shown with a named certificate (nothing, a token, a key), then the same with a nameless one
TABLE: list[tuple[Accepted, tuple[Expected, ...], tuple[Expected, ...]]] = [
    ({C}, (BY_C, BY_CT, NOT_HERE), (NO_NAME, NO_NAME, NOT_HERE)),
    ({B}, (NO_TOKEN, BY_CT, NOT_HERE), (NO_NAME, NO_NAME, NOT_HERE)),
    ({T}, (NO_TOKEN, BY_CT, NOT_HERE), (NO_TOKEN, BY_T, NOT_HERE)),
    ({K}, (NO_KEY, NOT_HERE, BY_CK), (NO_KEY, NOT_HERE, BY_K)),
    ({C, T}, (BY_C, BY_CT, NOT_HERE), (NO_NAME, BY_T, NOT_HERE)),
    ({C, K}, (BY_C, BY_CT, BY_CK), (NO_NAME, NO_NAME, BY_K)),
    ({B, K}, (NO_TOKEN, BY_CT, BY_CK), (NO_NAME, NO_NAME, BY_K)),
    ({T, K}, (NO_TOKEN, BY_CT, BY_CK), (NO_TOKEN, BY_T, BY_K)),
    ({B, T}, (NO_TOKEN, BY_CT, NOT_HERE), (NO_NAME, BY_T, NOT_HERE)),
    ({C, B, T, K}, (BY_C, BY_CT, BY_CK), (NO_NAME, BY_T, BY_K)),
]


@pytest.mark.parametrize(
    ("accepted", "named", "nameless"), TABLE, ids=["+".join(sorted(c.value for c in row[0])) for row in TABLE]
)
async def test_a_call_has_to_show_what_is_accepted(
    world: World, accepted: Accepted, named: tuple[Expected, ...], nameless: tuple[Expected, ...]
) -> None:
    identities, header = world.identities(accepted), f"Bearer {world.token()}"
    for pem, expectations in ((world.named, named), (world.nameless, nameless)):
        for shown, expected in zip(((("", "")), (header, ""), ("", world.api_key)), expectations, strict=True):
            outcome = await world.outcome(identities, Shown(pem, b"", *shown))
            assert (outcome.proofs if isinstance(outcome, Principal) else outcome) == expected
            if isinstance(outcome, Principal):
                assert outcome.workload == (WORKLOAD if pem == world.named else "")
                assert outcome.subject == ("alice" if shown[0] else "batch" if shown[1] else "")


@pytest.mark.parametrize("accepted", [{C}, {B}, {T}, {K}, {C, B, T, K}])
async def test_without_any_certificate_nobody_is_let_in(world: World, accepted: Accepted) -> None:
    identities = world.identities(accepted)
    for shown in (Shown(b"", b"", "", ""), Shown(b"", b"", f"Bearer {world.token()}", ""), Shown(b"", b"", "", "a.b")):
        assert await world.outcome(identities, shown) == "CERTIFICATE_MISSING"


@pytest.mark.parametrize("accepted", [{T, K}, {K}, {C, B, T, K}])
@pytest.mark.parametrize("authorization", ["sound", "Bearer x", "Basic x", "x"])
async def test_an_api_key_together_with_a_token_is_refused_whichever_is_good(
    world: World, accepted: Accepted, authorization: str
) -> None:
    header = f"Bearer {world.token()}" if authorization == "sound" else authorization
    for key in (world.api_key, "a.b"):
        shown = Shown(world.named, b"", header, key)
        assert await world.outcome(world.identities(accepted), shown) == "CREDENTIALS_AMBIGUOUS"


async def test_a_bad_token_is_refused_also_where_none_is_demanded(world: World) -> None:
    shown = Shown(world.named, b"", "Bearer a.b.c", "")
    assert await world.outcome(world.identities({C}), shown) == "TOKEN_MALFORMED"


# --- API keys --------------------------------------------------------------------------------------------------


async def test_an_api_key_makes_a_principal_that_ends_with_the_key(world: World) -> None:
    identities = world.identities({K})
    shown = Shown(world.named, b"", "", world.api_key)
    principal = await identities.verify(shown)
    assert (principal.issuer, principal.subject, principal.tenants) == ("api-key", "batch", frozenset({"acme"}))
    assert (principal.groups, principal.expires_at_seconds) == (frozenset({"jobs"}), world.entry.expires.timestamp())
    assert world.api_key not in repr(principal)
    world.clock.now = principal.expires_at_seconds - 0.001
    assert identities.known(shown) is principal
    world.clock.pass_(0.001)
    assert identities.known(shown) is None
    assert await world.outcome(identities, shown) == "API_KEY_EXPIRED"


async def test_a_revoked_key_is_known_no_more_within_two_seconds(world: World) -> None:
    tokens = TokenVerifier(())
    made: list[Identities] = []

    def forget() -> None:
        made[0].forget()

    keys = ApiKeys(world.path, on_change=forget, clock=world.clock)
    identities = Identities(certificate_reader("example.org"), tokens, keys, {K}, clock=world.clock)
    made.append(identities)
    shown = Shown(world.named, b"", "", world.api_key)
    await identities.verify(shown)
    assert identities.known(shown) is not None
    api_key.save(world.path, {})
    world.clock.pass_(api_key.LOOK_AGAIN_SECONDS)
    assert identities.known(shown) is None
    assert await world.outcome(identities, shown) == "API_KEY_INVALID"


# --- tokens that are bound to a certificate --------------------------------------------------------------------


def thumbprint(pem: bytes) -> str:
    return certificate_reader("example.org")(pem, b"").thumbprint


@pytest.mark.parametrize("demanded", [False, True])
async def test_a_bound_token_is_taken_of_its_own_certificate_alone(world: World, *, demanded: bool) -> None:
    identities = world.identities({B, T}, certificate_bound=demanded)
    header = f"Bearer {world.token(cnf={'x5t#S256': thumbprint(world.named)})}"
    principal = await identities.verify(Shown(world.named, b"", header, ""))
    assert principal.proofs == ("certificate", "bound-token")
    for thief in (world.pem(WORKLOAD), world.pem(f"{WORKLOAD}-2"), world.nameless):
        outcome = await world.outcome(identities, Shown(thief, b"", header, ""))
        assert outcome == "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE"


async def test_a_token_that_is_not_bound_is_refused_where_that_is_demanded(world: World) -> None:
    shown = Shown(world.named, b"", f"Bearer {world.token()}", "")
    assert await world.outcome(world.identities({B}, certificate_bound=True), shown) == "TOKEN_NOT_BOUND"


@pytest.mark.parametrize(
    "cnf", [{}, None, [], "", 5, {"x5t#S256": ""}, {"x5t#S256": 5}, {"jkt": "abc"}, {"jwk": {}}, {"x5t": "abc"}]
)
async def test_a_token_that_is_bound_to_what_cannot_be_checked_is_nobodys(world: World, cnf: Any) -> None:
    """Not left out of the claims by None, as elsewhere: it is there, and null."""
    claims = {"iss": world.issuer.issuer, "aud": "orders", "sub": "alice", "iat": int(world.clock()), "cnf": cnf}
    header = f"Bearer {world.issuer.sign({**claims, 'exp': int(world.clock()) + 60})}"
    for accepted in ({B}, {T}, {C}):
        outcome = await world.outcome(world.identities(accepted), Shown(world.named, b"", header, ""))
        assert outcome == "TOKEN_MALFORMED"


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text + "=", lambda text: text[:-1], lambda text: f" {text}"]
)
async def test_a_thumbprint_is_compared_as_it_stands(world: World, change: Any) -> None:
    header = f"Bearer {world.token(cnf={'x5t#S256': change(thumbprint(world.named))})}"
    outcome = await world.outcome(world.identities({B}), Shown(world.named, b"", header, ""))
    assert outcome == "TOKEN_BOUND_TO_ANOTHER_CERTIFICATE"


async def test_a_thief_is_told_no_more_than_that_the_token_is_not_accepted(world: World) -> None:
    header = f"Bearer {world.token(cnf={'x5t#S256': thumbprint(world.named)})}"
    with pytest.raises(errors.Unauthenticated) as caught:
        await world.identities({B}).verify(Shown(world.pem(WORKLOAD), b"", header, ""))
    assert (caught.value.message, caught.value.reason) == ("the token is not accepted", "TOKEN_INVALID")


# --- tokens of an issuer for one trust domain alone ------------------------------------------------------------


async def test_a_token_is_shown_by_workloads_of_its_issuers_trust_domain_alone(world: World) -> None:
    header = f"Bearer {world.token()}"
    ours = world.identities({B, T}, trust_domain="example.org")
    assert isinstance(await world.outcome(ours, Shown(world.named, b"", header, "")), Principal)
    theirs = world.identities({B, T}, trust_domain="partner.example")
    for identities, pem in ((ours, world.nameless), (theirs, world.named), (theirs, world.nameless)):
        outcome = await world.outcome(identities, Shown(pem, b"", header, ""))
        assert outcome == "TOKEN_FROM_FOREIGN_TRUST_DOMAIN"
