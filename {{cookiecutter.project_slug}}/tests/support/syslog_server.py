"""A syslog server that takes messages by TLS (RFC 5425), in threads of its own."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_rpc.dev.authority import Authority, Request

SECONDS = 10.0


class SyslogServer:
    """What came.

    Args:
        port: on loopback.
        ca_file: the CA that vouches for it.
    """

    def __init__(self, port: int, ca_file: Path) -> None:
        self.port = port
        self.ca_file = ca_file
        self.messages: list[bytes] = []
        self.connections: list[str] = []  # the version of TLS of each
        self.refused: list[str] = []  # why a handshake failed
        self._came = threading.Condition()

    def take(self, message: bytes) -> None:
        """Remember a message."""
        with self._came:
            self.messages.append(message)
            self._came.notify_all()

    def wait(self, count: int) -> None:
        """Wait until that many messages came."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.messages) >= count, SECONDS), len(self.messages)


@contextmanager
def syslog_server(
    folder: Path,
    authority: Authority,
    *,
    clients: Authority | None = None,
    name: str = "localhost",
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Iterator[SyslogServer]:
    """Serve on a free port of loopback.

    Args:
        folder: where its files go.
        authority: signs its certificate.
        clients: signs those of its clients; None where they need none.
        name: that its certificate has.
        most: the newest TLS that it speaks.
    """
    folder.mkdir(exist_ok=True)
    request = Request("logs", dns_names=[name], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    authority.issue(request).write(folder / "server.pem", folder / "server.key")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, most
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if clients is not None:
        (folder / "clients.pem").write_bytes(clients.certificate_pem)
        context.load_verify_locations(folder / "clients.pem")
        context.verify_mode = ssl.CERT_REQUIRED

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                connection = context.wrap_socket(self.request, server_side=True)
            except OSError as error:  # OpenSSL's own is one
                made.refused.append(str(error))
                return
            made.connections.append(str(connection.version()))
            with connection, connection.makefile("rb") as stream:
                try:
                    while length := _length(stream.read):
                        made.take(stream.read(length))
                except OSError as error:  # TLS 1.3: the client finds out after its handshake that it is not believed
                    made.refused.append(str(error))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        address_family = socket.AF_INET

    with Server(("127.0.0.1", 0), Handler) as server:
        made = SyslogServer(server.server_address[1], folder / "ca.pem")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join(SECONDS)


def _length(read: object) -> int:
    """Return the length of the next message (RFC 5425, 4.3: digits, then a space), 0 at the end."""
    digits = b""
    while (character := read(1)) not in {b"", b" "}:  # type: ignore[operator]
        digits += character
    return int(digits or b"0")
