"""An HTTPS server of the tests, in a thread of its own: what an issuer answers is the test's to say."""

from __future__ import annotations

import inspect
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson
import uvicorn
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from secure_rpc.dev.authority import Authority, Request


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    verb: str
    path: str
    headers: dict[str, str] = field(repr=False)
    form: dict[str, str] = field(repr=False)


Answer: TypeAlias = Callable[[Seen], "Response | Awaitable[Response]"]


def json_of(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


class HttpsServer:
    """Answers as it is told to; remembers what it was asked.

    Args:
        port: on loopback.
        ca_file: the CA that vouches for it.
    """

    def __init__(self, port: int, ca_file: Path) -> None:
        self.url = f"https://localhost:{port}"
        self.ca_file = ca_file
        self.seen: list[Seen] = []
        self.answer: Answer = lambda _: Response(status_code=404)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = HttpRequest(scope, receive)
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        seen = Seen(request.method, request.url.path, dict(request.headers), form)
        self.seen.append(seen)
        answered = self.answer(seen)
        response = await answered if inspect.isawaitable(answered) else answered
        await response(scope, receive, send)


@contextmanager
def https_server(
    folder: Path, authority: Authority, *, clients: Authority | None = None, names: Sequence[str] = ("localhost",)
) -> Iterator[HttpsServer]:
    """Serve on a free port of loopback.

    Args:
        folder: where its files go.
        authority: signs its certificate.
        clients: signs those of its clients; None where they need none.
        names: that its certificate has.
    """
    folder.mkdir(exist_ok=True)
    files = {name: folder / f"{name}.pem" for name in ("https", "key", "ca", "clients")}
    request = Request("issuer", dns_names=names, usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    authority.issue(request).write(files["https"], files["key"])
    files["ca"].write_bytes(authority.certificate_pem)
    arguments: dict[str, Any] = {}
    if clients is not None:
        files["clients"].write_bytes(clients.certificate_pem)
        arguments = {"ssl_ca_certs": str(files["clients"]), "ssl_cert_reqs": int(ssl.CERT_REQUIRED)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = HttpsServer(listener.getsockname()[1], files["ca"])
        config = uvicorn.Config(
            made, ssl_certfile=files["https"], ssl_keyfile=str(files["key"]), log_config=None, access_log=False,
            loop="asyncio", lifespan="off", ws="none", timeout_graceful_shutdown=1, **arguments,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield made
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)
