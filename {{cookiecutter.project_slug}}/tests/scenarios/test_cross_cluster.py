"""Two clusters: each has a CA and an issuer of its own, and they let each other's frontends in, and nobody else.

Who is there: east and west, two clusters whose services call each other; a frontend in each, with users who log in at
home; operators who hand each other two files: the CAs that the workloads have, and the keys that sign the tokens.
What they want: the files come, and calls cross over, each as what it is at home. One day one side ends it.
What may go wrong: the other's CA vouches for workloads of ours; a token of theirs is shown by a workload of ours; what
was let in stays in after the end, on the connections that it has; the end of one direction is the end of both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import orjson
import pytest

from secure_rpc.dev.authority import Authority, Leaf, client_request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.parties import Party, party, workload_id
from support.sessions import said
from support.target import AUDIENCE, Target, run_target
from support.world import ending

EAST, WEST = "example.org", "partner.example"
PATIENCE_SECONDS = 20
ASK = pb.Ask(act="anything")
ALICE = Caller(subject="alice", tenants=("acme",), groups=("guests",))


class Cluster(NamedTuple):
    """A trust domain and the service in it."""

    domain: str
    target: Target
    folder: Path

    @property
    def issuer(self) -> TokenIssuer:
        return self.target.service.issuer

    def leaf(self, domain: str = "") -> Leaf:
        """Return a certificate of the frontend by the CA of this cluster, for any domain that it likes to name."""
        return self.target.service.issue(client_request("frontend", domain or self.domain))

    @asynccontextmanager
    async def calls(self, other: Cluster, leaf: Leaf | None = None) -> AsyncIterator[Party]:
        """Open a channel of this cluster's frontend to the service of another, or of this one."""
        token = self.issuer.token(ALICE)
        async with party(other.target, "frontend", lambda: token, leaf=leaf or self.leaf()) as made:
            yield made

    async def takes(self, bundle: bytes, domain: str) -> None:
        """Put a bundle in place for another domain; the service takes it up by itself."""
        before = self.reloads()
        (self.folder / f"{domain}.pem").write_bytes(bundle)
        await until(lambda: self.reloads() > before, PATIENCE_SECONDS)

    def reloads(self) -> float:
        return self.target.service.metric("secure_rpc_certificate_reloads_total", result="ok")


def issuer_of(domain: str) -> str:
    return f"https://issuer.{domain}"


def policy_of(domain: str, other: str) -> str:
    """Return what a cluster gives to its own users, and to those of its partner's frontend."""
    return f"""
version: 1
roles:
  caller: {{ permissions: [probe.call] }}
bindings:
  - name: ours
    role: caller
    principals: [{{ issuer: "{issuer_of(domain)}", group: guests }}]
  - name: the partner's
    role: caller
    principals: [{{ issuer: "{issuer_of(other)}", group: guests, workload: "{workload_id("frontend", other)}" }}]
"""


@asynccontextmanager
async def cluster(application: Application, folder: Path, domain: str, other: str) -> AsyncIterator[Cluster]:
    """Run a cluster that waits for its partner: until the files come, it knows a CA and a key that nobody has."""
    (folder / "dev").mkdir(parents=True)
    theirs = folder / "dev" / f"{other}.json"
    (folder / f"{other}.pem").write_bytes(Authority.create("nobody").certificate_pem)
    theirs.write_bytes(orjson.dumps(TokenIssuer("nobody", AUDIENCE).jwks()))

    def issuer(name: str, keys: Path) -> dict[str, Any]:
        return {"issuer": issuer_of(name), "jwks_file": keys, "audiences": [AUDIENCE], "trust_domain": name}

    authentication = {
        "trust_domain": domain,
        "federated_trust_domains": {other: {"bundle_file": folder / f"{other}.pem"}},
        "issuers": [issuer(domain, folder / "dev" / "jwks.json"), issuer(other, theirs)],
    }
    settings = {"authentication": authentication}
    async with run_target(application, folder, settings, policy=policy_of(domain, other)) as target:
        yield Cluster(domain, target, folder)


@pytest.fixture
async def clusters(application: Application, tmp_path: Path) -> AsyncIterator[tuple[Cluster, Cluster]]:
    async with AsyncExitStack() as stack:
        east = await stack.enter_async_context(cluster(application, tmp_path / "east", EAST, WEST))
        west = await stack.enter_async_context(cluster(application, tmp_path / "west", WEST, EAST))
        async with west.calls(east) as too_early:
            assert (await too_early.ask()).code is grpc.StatusCode.UNAVAILABLE  # no handshake before the bundle
        for here, there in ((east, west), (west, east)):
            (here.folder / "dev" / f"{there.domain}.json").write_bytes(orjson.dumps(there.issuer.jwks()))
            await here.takes(there.target.service.authority.certificate_pem, there.domain)
            async with there.calls(here) as frontend, asyncio.timeout(PATIENCE_SECONDS):
                while said(told := await frontend.ask()) != ("OK", ""):
                    assert said(told) == ("UNAUTHENTICATED", "TOKEN_KEY_UNKNOWN")  # keys are read again in a moment
        yield east, west


async def test_calls_cross_over_as_what_they_are_at_home_and_neither_side_speaks_for_the_other(
    clusters: tuple[Cluster, Cluster],
) -> None:
    for here, there in (clusters, clusters[::-1]):
        async with here.calls(there) as frontend:
            told = await frontend.ask("TenantUnary", tenant="acme")
        assert said(told) == ("OK", "")
        record = (await there.target.service.audit_records())[-1]
        assert (record["workload"], record["rule"]) == (workload_id("frontend", here.domain), "the partner's")
        assert (record["issuer"], record["subject"]) == (issuer_of(here.domain), "alice")

        begun = there.target.begun
        async with (
            here.calls(there, here.leaf(there.domain)) as in_our_name,
            here.calls(there, there.leaf()) as with_a_stolen_token,
        ):
            assert said(await in_our_name.ask()) == ("UNAUTHENTICATED", "TRUST_DOMAIN_UNKNOWN")
            assert said(await with_a_stolen_token.ask()) == ("UNAUTHENTICATED", "TOKEN_INVALID")
        recorded = [each["reason"] for each in (await there.target.service.audit_records())[-2:]]
        assert recorded == ["TRUST_DOMAIN_FOREIGN_CA", "TOKEN_FROM_FOREIGN_TRUST_DOMAIN"]
        assert there.target.begun == begun


async def test_when_one_side_ends_it_only_what_it_let_in_goes(clusters: tuple[Cluster, Cluster]) -> None:
    east, west = clusters
    async with west.calls(east) as guest, east.calls(east) as own, east.calls(west) as abroad:
        theirs, ours = (each.call("Bidi", open_=True) for each in (guest, own))
        for stream in (theirs, ours):
            await stream.write(ASK)
            assert (await stream.read()).text == ASK.act

        await east.takes(Authority.create("nobody any more").certificate_pem, WEST)
        async with asyncio.timeout(PATIENCE_SECONDS):
            ended = await ending(theirs)
        assert said(ended) == ("UNAUTHENTICATED", "CERTIFICATE_UNTRUSTED")
        assert said(await guest.ask()) == ("UNAUTHENTICATED", "CERTIFICATE_UNTRUSTED")  # its connection lives on
        async with west.calls(east) as anew:
            assert (await anew.ask()).code is grpc.StatusCode.UNAVAILABLE

        await ours.write(ASK)
        assert (await ours.read()).text == ASK.act
        assert said(await own.ask()) == ("OK", "")
        assert said(await abroad.ask()) == ("OK", "")  # west has ended nothing
    assert (await east.target.record_of(ended))["workload"] in {"", workload_id("frontend", WEST)}
    failures = east.target.service.metric("secure_rpc_mtls_failures_total", reason="CERTIFICATE_UNTRUSTED")
    assert failures >= 1
