"""Call a running service as everybody; run by the service's own Python. Prints one JSON object a call.

Arguments: package, "host:port", folder of the development files, file of the callers.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
from google.rpc import error_details_pb2  # noqa: E402
from grpc_status import rpc_status  # noqa: E402
from secure_rpc.client import connect  # noqa: E402
from secure_rpc.dev.authority import Authority, client_request  # noqa: E402
from secure_rpc.dev.issuer import TokenIssuer, load_callers  # noqa: E402
from secure_rpc.dev.setup import DevelopmentFiles  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TENANT = "acme"
SECONDS = 5.0


class Caller:
    """Somebody who calls each kind of method once."""

    def __init__(self, package: str, channel: grpc.aio.Channel) -> None:
        """Take the package of the generated code, and a channel with the caller's credentials."""
        self.pb: Any = importlib.import_module(f"{package}.v1.order_pb2")
        self.stub: Any = importlib.import_module(f"{package}.v1.order_pb2_grpc").OrderServiceStub(channel)

    async def calls(self) -> AsyncIterator[dict[str, str]]:
        """Make the calls, say how each ended."""
        pb, stub = self.pb, self.stub
        many = [pb.ImportOrdersRequest(tenant=TENANT, title=title) for title in ("milk", "bread")]
        ids = [pb.SyncOrdersRequest(tenant=TENANT, id=number) for number in ("1", "2")]
        create = stub.CreateOrder(pb.CreateOrderRequest(tenant=TENANT, title="tea"), timeout=SECONDS)
        yield await ended("CreateOrder", "unary", create)
        yield await ended(
            "GetOrder", "unary", stub.GetOrder(pb.GetOrderRequest(tenant=TENANT, id="1"), timeout=SECONDS)
        )
        yield await ended("WatchOrders", "server stream", stub.WatchOrders(pb.WatchOrdersRequest(tenant=TENANT)))
        yield await ended("ImportOrders", "client stream", stub.ImportOrders(iter(many), timeout=SECONDS))
        yield await ended("SyncOrders", "bidi stream", stub.SyncOrders(iter(ids), timeout=SECONDS))


async def ended(method: str, kind: str, call: Any) -> dict[str, str]:  # noqa: ANN401  # grpc types its calls apart
    """Return how a call ended; of a stream that does not end by itself, its first message is enough."""
    told = {"method": method, "kind": kind, "code": "OK", "reason": ""}
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                if method == "WatchOrders":
                    call.cancel()
                    break
        else:
            await call
    except grpc.aio.AioRpcError as error:
        told |= {"code": error.code().name, "reason": reason_of(error)}
    return told


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the reason that the server gave."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # typed for sync calls
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def transport(address: str, files: DevelopmentFiles) -> list[dict[str, str]]:
    """Try to get in below the calls: without TLS, with an old one, without a certificate, with another CA's."""
    foreign = Authority.create("Foreign CA").issue(client_request("developer", "example.org"))
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder) / "foreign.pem", Path(folder) / "foreign.key"
        foreign.write(certificate, key)
        ours = files.client_certificate, files.client_key
        return [
            {"attempt": "plaintext HTTP/2", "result": plaintext(address)},
            {"attempt": "TLS 1.2, good certificate", "result": handshake(address, files, ours, ssl.TLSVersion.TLSv1_2)},
            {"attempt": "TLS 1.3, no certificate", "result": handshake(address, files, None)},
            {"attempt": "TLS 1.3, foreign CA", "result": handshake(address, files, (certificate, key))},
            {"attempt": "TLS 1.3, good certificate", "result": handshake(address, files, ours)},
        ]


def plaintext(address: str) -> str:
    """Send the preface of HTTP/2 as it is; return what comes."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        try:
            return "connected" if b"h2" in connection.recv(1024) else "no connection"
        except OSError:
            return "no connection"


def handshake(
    address: str,
    files: DevelopmentFiles,
    pair: tuple[Path, Path] | None,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> str:
    """Shake hands and read the first frame: a TLS 1.3 client learns only then that it was refused."""
    context = ssl.create_default_context(cafile=str(files.ca_certificate))
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    if pair:
        context.load_cert_chain(*pair)
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), SECONDS) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            return "connected" if wrapped.recv(1024) else "no connection"
    except OSError:
        return "no connection"


async def main(package: str, address: str, folder: str, callers_file: str) -> None:
    """Call as everybody."""
    files = DevelopmentFiles(Path(folder))
    issuer = TokenIssuer.load("https://issuer.example.org", "order-service", files.issuer_key)
    services = [importlib.import_module(f"{package}.v1.order_pb2").DESCRIPTOR.services_by_name["OrderService"]]
    callers = load_callers(Path(callers_file))
    for name in ("alice", "bob", "carol", ""):
        token = issuer.token(callers[name]) if name else ""
        async with connect(
            address,
            certificate_file=files.client_certificate,
            key_file=files.client_key,
            ca_file=files.ca_certificate,
            services=services,
            token=lambda token=token: token,  # type: ignore[misc]
        ) as channel:
            async for told in Caller(package, channel).calls():
                print(json.dumps({"caller": name, **told}))
    for tried in transport(address, files):
        print(json.dumps(tried))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
