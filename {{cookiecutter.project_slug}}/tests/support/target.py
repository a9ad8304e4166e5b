"""The server under attack: the service's own chain around the probe, behind real TLS, and what its audit tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2

from secure_rpc.call import Call, Method
from secure_rpc.chain import CORRELATION_ID_KEY, Middleware, Proceed, Stage
from secure_rpc.dev.authority import Leaf, client_request
from secure_rpc.errors import STATUS_DETAILS_KEY
from secure_rpc.platform import Application, Platform
from secure_rpc.testing.service import RunningService, run_service

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support import http2
from support.probe import STREAMS_IN, Servicer
from support.world import Ending, ending

TRUST_DOMAIN = "example.org"
ISSUER = "https://issuer.example.org"
AUDIENCE = "probe"
_STREAMS_IN = (*STREAMS_IN, "TenantBidi")
KINDS = ("Unary", "ServerStream", "ClientStream", "Bidi")

SETTINGS = f"""
service: {{ name: probe }}
tls: {{ certificate_file: server.pem, key_file: server.key, client_ca_file: ca.pem }}
authentication:
  trust_domain: {TRUST_DOMAIN}
  credentials: both
  issuers: [{{ issuer: "{ISSUER}", jwks_file: jwks.json, audiences: [{AUDIENCE}] }}]
authorization:
  policy_file: policy.yaml
  contracts:
    /grpc.health.v1.Health/Check: {{ public: true }}
    /grpc.health.v1.Health/List: {{ public: true }}
    /grpc.health.v1.Health/Watch: {{ public: true }}
quotas: {{ default: {{ calls: 1000000 }} }}
audit: {{ file: audit.log }}
standby_worker: false
"""
POLICY = f"""
version: 1
roles:
  caller: {{ permissions: [probe.call] }}
bindings:
  - role: caller
    principals: [{{ issuer: "{ISSUER}", group: callers }}]
    tenants: own
"""
CALLERS = """
callers:
  alice: { subject: alice, tenants: [acme], groups: [callers] }
  bob: { subject: bob, tenants: [globex], groups: [callers] }
  mallory: { subject: mallory, tenants: [acme, globex], groups: [] }
"""


class Witness:
    """Outermost of all stages: tells when a call has ended, and with that its record was made."""

    def __init__(self) -> None:
        self.calls = 0
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    def bind(self, _method: Method) -> Middleware:
        async def tell(call: Call, proceed: Proceed) -> None:
            self.calls += 1
            try:
                await proceed(call)
            finally:
                self.ended.put_nowait(call.id)

        return tell


class Target:
    """The server, and those who call it.

    Args:
        service: that runs.
        servicer: the probe in it.
        witness: its outermost stage.
    """

    def __init__(self, service: RunningService, servicer: Servicer, witness: Witness) -> None:
        self.service = service
        self.servicer = servicer
        self.witness = witness
        self.channel = service.connect()  # with a sound certificate, without token

    @property
    def calls(self) -> int:
        """Return how many calls have come through, refused ones and those to unknown methods included."""
        return self.witness.calls

    @property
    def begun(self) -> int:
        """Return how often a handler of the probe has begun to act."""
        return self.servicer.begun._value

    def token(self, caller: str = "alice") -> str:
        """Return a sound token."""
        return self.service.token_of(caller)

    def call(
        self,
        shape: str,
        *asks: pb.Ask,
        authorization: str | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        channel: grpc.aio.Channel | None = None,
        open_: bool = False,
        **options: Any,
    ) -> Any:
        """Begin a call, alice's unless another `authorization` is given; an open one says nothing until written to."""
        is_signed = shape.startswith("Signed")
        stub_of = probe_pb2_grpc.SignedServiceStub if is_signed else probe_pb2_grpc.ProbeServiceStub
        stub: Any = stub_of(channel or self.channel)
        if authorization is None:
            authorization = f"Bearer {self.token()}"
        headers = (("authorization", authorization),) * bool(authorization)
        requests: Any = asks if shape in _STREAMS_IN else asks[0] if asks else pb.Ask(act="anything")
        arguments = () if open_ else (requests,)
        return getattr(stub, shape)(*arguments, metadata=(*headers, *metadata), timeout=20, **options)

    async def ask(self, shape: str, *asks: pb.Ask, **options: Any) -> Ending:
        """Make a call and return how it ended."""
        return await ending(self.call(shape, *(asks or (pb.Ask(act="anything"),)), **options))

    async def knock(self, shape: str, **options: Any) -> Ending:
        """Make a call that is refused by its headers: nothing is written to a stream, which might be closed by then."""
        return await (
            ending(self.call(shape, open_=True, **options)) if shape in _STREAMS_IN else self.ask(shape, **options)
        )

    async def record_of(self, told: Ending) -> dict[str, Any]:
        """Return the one audit record of a call that was refused."""
        return await self.record(str(told.trailers[CORRELATION_ID_KEY]))

    async def record(self, call_id: str) -> dict[str, Any]:
        """Return the one audit record of a call."""
        [record] = [record for record in await self.service.audit_records() if record["call_id"] == call_id]
        return record

    async def next_record(self) -> dict[str, Any]:
        """Wait for the end of the next call that nobody has waited for, and return its record."""
        async with asyncio.timeout(10):
            return await self.record(await self.witness.ended.get())

    def forget(self) -> None:
        """Have `next_record` wait for calls to come, not for those that have ended."""
        while not self.witness.ended.empty():
            self.witness.ended.get_nowait()

    async def is_served(self) -> bool:
        """Tell whether a caller who does all as it should be is served."""
        return (await self.ask("Unary")).code is grpc.StatusCode.OK

    def leaf(self, name: str = "developer") -> Leaf:
        """Return a sound client certificate."""
        return self.service.issue(client_request(name, TRUST_DOMAIN))

    @asynccontextmanager
    async def bare_channel(self, leaf: Leaf | None = None) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel of gRPC's own, which adds nothing to a call."""
        leaf = leaf or self.leaf()
        credentials = grpc.ssl_channel_credentials(
            self.service.authority.certificate_pem, leaf.key_pem, leaf.certificate_pem
        )
        async with grpc.aio.secure_channel(self.service.target, credentials) as channel:
            yield channel

    @asynccontextmanager
    async def raw(
        self, leaf: Leaf | None = None, *, acknowledge: bool = True, from_address: str = "127.0.0.1"
    ) -> AsyncIterator[http2.Connection]:
        """Open a connection with a certificate, on which anything can be sent."""
        folder = self.service.files.folder
        (leaf or self.leaf()).write(folder / "raw.pem", folder / "raw.key")
        context = http2.tls_context(self.service.files.ca_certificate, folder / "raw.pem", folder / "raw.key")
        port = self.service.server.port
        async with http2.connect(port, context, acknowledge=acknowledge, from_address=from_address) as connection:
            yield connection


class Reason(NamedTuple):
    """What a refusal says besides its text."""

    code: int
    message: str
    reason: str
    details: list[Any]


def reason_of(trailers: Mapping[str, Any]) -> Reason:
    """Return the rich status that came in the trailers."""
    status = status_pb2.Status.FromString(trailers[STATUS_DETAILS_KEY])
    found, reason = [], ""
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
        detail = kind()
        assert packed.Unpack(detail)
        found.append(detail)
        if isinstance(detail, error_details_pb2.ErrorInfo):
            reason = detail.reason
    return Reason(status.code, status.message, reason, found)


@asynccontextmanager
async def run_target(
    application: Application,
    folder: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    policy: str = POLICY,
    stages: Sequence[Stage] = (),
    servicer: Servicer | None = None,
    add: Sequence[Callable[[Any], None]] = (),
) -> AsyncIterator[Target]:
    """Run the service's chain around the probe.

    Args:
        application: the service whose chain is attacked.
        folder: where all files go.
        overrides: settings that differ from the usual.
        policy: the document.
        stages: further ones, innermost.
        servicer: another probe.
        add: what adds further services.
    """
    files = {"settings.yaml": SETTINGS, "policy.yaml": policy, "callers.yaml": CALLERS}
    for name, text in files.items():
        (folder / name).write_text(text)
    witness, servicer = Witness(), servicer or Servicer()

    def build_chain(platform: Platform) -> list[Stage]:
        return [witness, *application.build_chain(platform), *stages]

    def add_services(server: Any) -> None:
        probe_pb2_grpc.add_ProbeServiceServicer_to_server(servicer, server)
        for add_service in add:
            add_service(server)

    all_overrides = {"authorization": {"policy_file": folder / "policy.yaml"}, **(overrides or {})}
    async with run_service(
        Application(build_chain, add_services),
        folder,
        all_overrides,
        config=folder / "settings.yaml",
        callers=folder / "callers.yaml",
    ) as service:
        yield Target(service, servicer, witness)
