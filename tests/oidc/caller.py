"""Calls a service as its clients do; run by the service's own Python. Reads jobs as JSON lines, answers each by one."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402
from google.rpc import error_details_pb2  # noqa: E402
from grpc_status import rpc_status  # noqa: E402
from secure_rpc import token_sources  # noqa: E402
from secure_rpc.audit.verify import verify  # noqa: E402
from secure_rpc.client import connect  # noqa: E402
from secure_rpc.dev.authority import Authority, client_request, pem_of, server_request, write_private  # noqa: E402
from secure_rpc.dev.issuer import Caller, TokenIssuer  # noqa: E402
from secure_rpc.exchange import jwks  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


Json = dict[str, Any]

SERVICES = {
    "CreateOrder": ("order_service.v1.order_pb2", "OrderService"),
    "Exchange": ("secure_rpc.v1.exchange_pb2", "TokenExchangeService"),
}
SECONDS = 30.0
AT_ONCE = 400  # below the calls that a service takes from one peer
DEV = Path(".dev")


def files_of(name: str) -> tuple[Path, Path]:
    """Return where a client's certificate and key are."""
    return DEV / f"{name}.pem", DEV / f"{name}.key"


def source_of(url: str, client_id: str, secret: str, resource: str, certificate: str) -> token_sources.TokenSource:
    """Return a source of a client's own tokens."""
    certificate_file, key_file = files_of(certificate)
    endpoint = token_sources.TokenEndpoint(
        url, client_id, secret, ca_file=DEV / "ca.pem", certificate_file=certificate_file, key_file=key_file
    )
    return token_sources.client_credentials(endpoint, resource=resource)


async def token(**source: str) -> Json:
    """Get a token."""
    try:
        return {"token": await asyncio.to_thread(source_of(**source))}
    except token_sources.TokenUnavailable as error:
        return {"error": str(error)}


async def calls(address: str, certificate: str, calls: list[Json], source: dict[str, str] | None = None) -> list[Json]:
    """Make calls on one channel: many at once, or, where the channel gets its token by itself, one after another."""
    modules = {name: importlib.import_module(module) for name, (module, _) in SERVICES.items()}
    descriptors = [modules[name].DESCRIPTOR.services_by_name[service] for name, (_, service) in SERVICES.items()]
    certificate_file, key_file = files_of(certificate)
    async with connect(
        address,
        certificate_file=certificate_file,
        key_file=key_file,
        ca_file=DEV / "ca.pem",
        services=descriptors,
        token=source_of(**source) if source else None,
    ) as channel:
        at_once = asyncio.Semaphore(AT_ONCE)
        if source:
            return [await call(channel, at_once, **each) for each in calls]
        return await asyncio.gather(*(call(channel, at_once, **each) for each in calls))


async def call(channel: grpc.aio.Channel, at_once: asyncio.Semaphore, method: str, token: str, fields: Json) -> Json:
    """Make one call, say how it ended."""
    module, service = SERVICES[method]
    pb, grpc_code = importlib.import_module(module), importlib.import_module(f"{module}_grpc")
    ask = getattr(getattr(grpc_code, f"{service}Stub")(channel), method)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with at_once:
        asked = ask(getattr(pb, f"{method}Request")(**fields), metadata=metadata, timeout=SECONDS)
        try:
            return {"code": "OK", "response": MessageToDict(await asked)}
        except grpc.aio.AioRpcError as error:
            return told(error)


def told(error: grpc.aio.AioRpcError) -> Json:
    """Return all that a refused caller is told."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # typed for sync calls
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        detail.Unpack(info)
    trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
    return {
        "code": error.code().name,
        "reason": info.reason,
        "message": error.details(),
        "call_id": trailers.get("correlation-id", ""),
    }


async def sign(subject: str, tenants: list[str], groups: list[str]) -> Json:
    """Return a token of the development issuer."""
    issuer = TokenIssuer.load("https://issuer.example.org", "order-service", DEV / "issuer.key")
    return {"token": issuer.token(Caller(subject=subject, tenants=tuple(tenants), groups=tuple(groups)))}


async def whole(file: str) -> bool:
    """Tell whether an audit log is whole."""
    return verify(Path(file)).whole


async def prepare(folder: str) -> None:
    """Make what development files lack: another client, another CA, a key and a JWKS for exchanged tokens."""
    into = Path(folder)
    authority = Authority.load(DEV / "ca.pem", DEV / "ca.key")
    authority.issue(client_request("other", "example.org")).write(*files_of("other"))
    authority.issue(server_request("provider", "example.org")).write(into / "server.pem", into / "server.key")
    (into / "ca.pem").write_bytes(authority.certificate_pem)
    (into / "foreign.pem").write_bytes(Authority.create("Foreign CA").certificate_pem)
    write_private(into / "exchange.key", pem_of(TokenIssuer("", "").key))
    (into / "exchange.json").write_text(json.dumps(jwks(into / "exchange.key")))


async def main() -> None:
    """Do jobs until there are no more."""
    jobs: dict[str, Callable[..., Awaitable[object]]]
    jobs = {"calls": calls, "prepare": prepare, "sign": sign, "token": token, "whole": whole}
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        print(json.dumps(await jobs[job.pop("do")](**job)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
