"""A server that takes signed calls, alice who signs hers, and a proxy between them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from secure_rpc.client import connect
from secure_rpc.platform import Application
from secure_rpc.stages.integrity import PROOF_KEY

from probe.v1 import probe_pb2 as pb
from support.altering_proxy import Alter, Passing, Proxy, run_proxy, unaltered
from support.probe import Servicer, SignedServicer
from support.signing import claims_of, new_key, private_pem, proof_of, public_pem, write_keys
from support.target import ISSUER, TRUST_DOMAIN, Target, reason_of, run_target
from support.world import Ending

SERVICE, AUDIENCE = "probe.v1.SignedService", "probe"
SIGNED = f"/{SERVICE}/Signed"
ALICE, BOB, OLD = new_key(), new_key("EdDSA"), new_key()
ASK = pb.Ask(act="pay", name="10 to bob")
BODY = ASK.SerializeToString()


@asynccontextmanager
async def run_signed(
    application: Application, folder: Path, overrides: dict[str, Any] | None = None
) -> AsyncIterator[Target]:
    """Run a target that takes signed calls too."""
    probe = Servicer()
    async with run_target(application, folder, overrides, servicer=probe, add=[SignedServicer(probe).add]) as target:
        yield target


class SignedWorld:
    """A server that knows alice's key and bob's, and a proxy in front of it."""

    def __init__(self, target: Target, proxy: Proxy, folder: Path) -> None:
        self.target = target
        self.proxy = proxy
        self._folder = folder

    @asynccontextmanager
    async def client(self, address: str = "", key_id: str = "alice", caller: str = "alice") -> AsyncIterator[Any]:
        """Open a channel of ours, by the proxy unless told otherwise; "" for the key of the certificate."""
        files = self.target.service.files
        (self._folder / "alice.key").write_bytes(private_pem(ALICE))
        async with connect(
            address or self.proxy.target,
            certificate_file=files.client_certificate,
            key_file=files.client_key,
            ca_file=files.ca_certificate,
            services=[pb.DESCRIPTOR.services_by_name[name] for name in ("ProbeService", "SignedService")],
            token=lambda: self.target.token(caller),
            audience=AUDIENCE,
            signing_key_file=self._folder / "alice.key" if key_id else None,
            signing_key_id=key_id,
        ) as channel:
            yield channel

    async def call(self, alter: Alter = unaltered) -> Ending:
        """Make alice's signed call by the proxy, which alters it."""
        self.proxy.alter = alter
        async with self.client() as channel:
            return await self.target.ask("Signed", ASK, channel=channel, authorization="")

    async def capture(self) -> Passing:
        """Return a sound call of alice's as the proxy sees it, not sent; with a token of its own."""
        token = self.target.service.token_of("alice", jti=secrets.token_hex(8))
        proof = proof_of(claims_of(SIGNED, AUDIENCE, BODY, token), ALICE, kid="alice")
        return Passing(SIGNED, BODY, (("authorization", f"Bearer {token}"), (PROOF_KEY, proof)))

    async def refused(self, told: Ending, code: str, reason: str, recorded: str = "") -> bool:
        """Tell whether a call was refused so, recorded so, and reached no handler."""
        assert (told.code.name, reason_of(told.trailers).reason) == (code, reason)
        record = await self.target.record_of(told)
        assert (record["code"], record["reason"]) == (code, recorded or reason)
        return True


@asynccontextmanager
async def run_signed_world(application: Application, folder: Path) -> AsyncIterator[SignedWorld]:
    """Run a server and its proxy; in the end, who must not call it must still be refused."""
    keys = {
        "alice": {"public_key": public_pem(ALICE), "issuer": ISSUER, "subject": "alice"},
        "alice-old": {
            "public_key": public_pem(OLD),
            "issuer": ISSUER,
            "subject": "alice",
            "expires": "2020-01-01T00:00:00Z",
        },
        "bob": {"public_key": public_pem(BOB), "issuer": ISSUER, "subject": "bob"},
        "proxy": {"public_key": public_pem(BOB), "workload": f"spiffe://{TRUST_DOMAIN}/client/proxy"},
    }
    overrides = {"integrity": {"signing_keys_file": write_keys(folder / "keys.yaml", keys)}}
    async with run_signed(application, folder, overrides) as target, run_proxy(target) as proxy:
        yield SignedWorld(target, proxy, folder)
        assert (await target.ask("Signed", authorization=f"Bearer {target.token('mallory')}")).code.name != "OK"
