"""A trust domain of a drill: a CA, an issuer, a policy and a service of its own, private copies of what there is."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import grpc
import orjson
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_status import rpc_status

from secure_rpc import settings as settings_module
from secure_rpc.client import connect
from secure_rpc.client_channel import RotatingChannel
from secure_rpc.configuration import read_yaml
from secure_rpc.dev.authority import Authority, Leaf, client_request
from secure_rpc.dev.issuer import TokenIssuer
from secure_rpc.dev.setup import prepare, token_issuer
from secure_rpc.drills.ground import PATIENCE_SECONDS, Ground, copied
from secure_rpc.drills.plan import Plan
from secure_rpc.drills.traffic import ANSWERS, start_call, told_by
from secure_rpc.settings import Settings
from secure_rpc.testing.process import start_process

SERVED = "served"  # the handler was reached, whatever it found
NO_CONNECTION = "no connection"  # no server has said anything: the handshake failed
GUEST, GUESTS = "federation-drill-guest", "federation-drill-guests"  # a role, and the group that a partner puts them in
WORKLOAD = "developer"  # of every domain: the name of the development client


class Domain:
    """A trust domain and the service in it.

    Args:
        plan: of which the service is a copy.
        folder: all that it has.
        name: the trust domain, which takes the place of that of the plan's settings.
    """

    def __init__(self, plan: Plan, folder: Path, name: str) -> None:
        folder.mkdir()
        self.name, self._plan, self._folder = name, plan, folder
        self._copy = copied(plan, folder, {})
        self._config, was, self.files = self._copy.config, self._copy.settings, self._copy.files
        self._data: dict[str, Any] = orjson.loads(self._config.read_bytes())
        authentication = self._data["authentication"]
        was_named, own = was.authentication.trust_domain, token_issuer(was, self.files)
        self.issuer_name = f"https://issuer.{name}" if name != was_named else own.issuer
        [settings] = [each for each in authentication["issuers"] if each["issuer"] == own.issuer]
        # nobody's tokens are good with a workload of another domain
        authentication["issuers"] = [{**settings, "issuer": self.issuer_name, "trust_domain": name}]
        authentication.update(trust_domain=name, credentials="both", federated_trust_domains={}, api_keys_file=None)
        self._data.update(workers=1, standby_worker=False)
        self._policy = Path(self._data["authorization"]["policy_file"])
        text = self._policy.read_text(encoding="utf-8").replace(own.issuer, self.issuer_name)
        self._policy.write_text(text.replace(f"spiffe://{was_named}/", f"spiffe://{name}/"), encoding="utf-8")
        self.settings = self._write()
        prepare(self.settings, self.files, renew=True)
        self.ground: Ground | None = None

    @property
    def issuer(self) -> TokenIssuer:
        """Return its issuer of tokens."""
        return token_issuer(self.settings, self.files)

    @property
    def audience(self) -> str:
        """Return what tokens for its service name."""
        return self.settings.authentication.issuers[0].audiences[0]

    @property
    def signing(self) -> Authority:
        """Return the CA that signs its certificates now."""
        return Authority.load(self.files.intermediate_certificate, self.files.intermediate_key)

    @property
    def workload(self) -> Leaf:
        """Return the certificate of its client, as it is now."""
        return Leaf(self.files.client_certificate.read_bytes(), self.files.client_key.read_bytes())

    def names(self, trust_domain: str) -> Leaf:
        """Return a certificate by which its CA vouches for the client of a trust domain."""
        return self.signing.issue(client_request(WORKLOAD, trust_domain))

    def take_bundle(self, other: Domain) -> None:
        """Take the CAs of another domain, as it gives them out now; a service that runs reads them again."""
        bundle = self._bundle(other)
        beside = bundle.with_suffix(".new")
        shutil.copyfile(other.files.ca_certificate, beside)
        beside.replace(bundle)

    def befriend(self, other: Domain, permissions: Sequence[str]) -> None:
        """Let another domain in: its CAs for its workloads, its issuer's keys, and what the policy gives its guests.

        Args:
            other: the domain; what it gives are files, as they would come by any channel that can be trusted.
            permissions: of its guests, for the tenants that their tokens name.
        """
        self.take_bundle(other)
        keys = self._folder / f"{other.name}.jwks.json"
        authentication = self._data["authentication"]
        mine, theirs = authentication["issuers"][0], other._data["authentication"]["issuers"][0]
        shutil.copyfile(theirs["jwks_file"], keys)
        authentication["federated_trust_domains"] = {other.name: {"bundle_file": str(self._bundle(other))}}
        authentication["issuers"] = [mine, {**theirs, "audiences": mine["audiences"], "jwks_file": str(keys)}]
        policy = read_yaml(self._policy).data
        policy["roles"][GUEST] = {"permissions": list(permissions)}
        who = {"issuer": other.issuer_name, "group": GUESTS, "workload": f"spiffe://{other.name}/client/*"}
        policy["bindings"].append({"name": GUEST, "role": GUEST, "principals": [who], "tenants": "own"})
        self._policy.write_bytes(orjson.dumps(policy))  # JSON is YAML
        self.settings = self._write()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run the service for as long as the context lasts.

        Raises:
            RuntimeError: it does not end in order.
        """
        async with start_process(self._plan.module, self._config, self._plan.environment) as process:
            addresses = await process.address(), await process.admin()
            self.ground = Ground(process, replace(self._copy, settings=self.settings), "", addresses)
            yield
            process.process.terminate()
            if code := await process.ended(PATIENCE_SECONDS):
                raise RuntimeError(f"the service of {self.name} ended with {code}, not in order")

    def channel(self, workload: tuple[Path, Path], token: str, method: MethodDescriptor) -> RotatingChannel:
        """Return a channel to the service, whose callers know the CAs of its domain."""
        if self.ground is None:
            raise RuntimeError(f"the service of {self.name} was not started")
        made = connect(
            self.ground.target,
            certificate_file=workload[0],
            key_file=workload[1],
            ca_file=self.files.ca_certificate,
            services=[method.containing_service],
            token=lambda: token,
            audience=self.settings.service.name,
        )
        return cast("RotatingChannel", made)

    async def answer(self, leaf: Leaf, token: str, method: MethodDescriptor, request: Message) -> str:
        """Return how a call ends: "served", "no connection", or its status and reason."""
        with TemporaryDirectory(dir=self._folder) as name:
            files = Path(name, "client.pem"), Path(name, "client.key")
            leaf.write(*files)
            async with self.channel(files, token, method) as channel:
                return await ending(channel, method, request)

    def _bundle(self, other: Domain) -> Path:
        return self._folder / f"{other.name}.pem"

    def _write(self) -> Settings:
        self._config.write_bytes(orjson.dumps(self._data))
        return settings_module.load(self._config)


async def ending(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message) -> str:
    """Return how a call that takes one request ends: "served", "no connection", or its status and reason."""
    call = start_call(channel, method)(request)
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE and rpc_status.from_call(cast("Any", error)) is None:
            return NO_CONNECTION
        return SERVED if error.code() in ANSWERS else told_by(error)
    return SERVED
