"""What they have in common: a store, mutual TLS 1.3, uvloop, HTTP/1.1 by httptools, and the line that says where."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

CERTIFICATES = Path(".dev")
KEPT: dict[tuple[str, str], str] = {("acme", "1"): "A thing that is kept"}  # the title, by tenant and id


def serve(application: Any) -> None:
    """Serve an ASGI application until SIGTERM."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, loop="uvloop", http="httptools", log_level="warning", access_log=False,
        ssl_certfile=str(CERTIFICATES / "server.pem"), ssl_keyfile=str(CERTIFICATES / "server.key"),
        ssl_ca_certs=str(CERTIFICATES / "ca.pem"), ssl_cert_reqs=ssl.CERT_REQUIRED,
        ssl_context_factory=_newest,
    )  # fmt: skip
    port = listening.getsockname()[1]
    print(json.dumps({"event": "serving", "address": f"127.0.0.1:{port}"}), flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def _newest(_config: uvicorn.Config, usual: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = usual()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
