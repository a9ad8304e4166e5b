"""Callers of an edge: by gRPC-Web in Node, by REST, and byte by byte."""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.edge.running import Edge

SERVICE = "order_service.v1.OrderService"
ORIGIN = "https://app.example.org"
ID = "spiffe://example.org/service/order-service"  # of the service behind
SECONDS = 30.0

Json = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a call by gRPC-Web ended."""

    code: str
    message: str
    headers: dict[str, str]  # trailers, too
    responses: list[Json] = field(default_factory=list)


class Web:
    """`client.mjs`, in a process of its own.

    Args:
        program: the file, its packages beside it.
        edge: that is called.

    """

    def __init__(self, program: Path, edge: Edge) -> None:
        given = {"url": edge.url, "image": str(edge.service / "build" / "image.binpb"), "service": SERVICE}
        self._process = subprocess.Popen(
            ["node", str(program), json.dumps(given)],
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(edge.service / ".dev" / "ca.pem")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def call(self, method: str, request: Json, token: str = "", **more: Any) -> Ended:
        """Make a call, and return how it ended.

        Args:
            method: its name.
            request: in JSON.
            token: that is shown; "" for none.
            more: headers; timeout_ms; messages, after which a stream is left.

        """
        self.begin(method, request, token, **more)
        return self.end()

    def begin(self, method: str, request: Json, token: str = "", **more: Any) -> None:
        """Make a call, and do not wait for it."""
        job = {"method": method, "request": request, "timeout_ms": 20_000, "messages": 0, **more}
        job["headers"] = {**(bearer(token) if token else {}), **more.get("headers", {})}
        if not self._process.stdin:
            raise RuntimeError("the client has no pipes")
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def end(self) -> Ended:
        """Return how the call that was begun has ended."""
        if not self._process.stdout:
            raise RuntimeError("the client has no pipes")
        answer = self._process.stdout.readline()
        assert answer, "the client has ended"
        return Ended(**json.loads(answer))

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=SECONDS)


def once() -> dict[str, str]:
    """Return what a call carries that may be made once."""
    return {"request-time": f"{time.time():.3f}", "request-nonce": secrets.token_urlsafe(24)}


def rest(edge: Edge) -> httpx.Client:
    """Return a client by REST."""
    context = ssl.create_default_context(cafile=edge.service / ".dev" / "ca.pem")
    return httpx.Client(base_url=edge.url, verify=context, timeout=SECONDS, http2=False)


def bearer(token: str) -> dict[str, str]:
    """Return how a token is shown."""
    return {"authorization": f"Bearer {token}"}


def connected(edge: Edge, *protocols: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    """Return a connection to write bytes to."""
    context = ssl.create_default_context(cafile=edge.service / ".dev" / "ca.pem")
    context.maximum_version = newest
    context.set_alpn_protocols(list(protocols or ("http/1.1",)))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", edge.port), SECONDS), server_hostname="localhost")


def raw(edge: Edge, request: bytes) -> bytes:
    """Return what is answered to bytes of HTTP/1.1, until the connection is closed."""
    with connected(edge) as connection:
        connection.sendall(request)
        found = b""
        while part := connection.recv(65_536):
            found += part
    return found
