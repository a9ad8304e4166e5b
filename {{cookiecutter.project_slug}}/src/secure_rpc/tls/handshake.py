"""A server's handshakes, tried by itself before it serves: by TLS 1.3, by nothing older, and with the right leaf.

The floor rests on a list of ciphers in the environment, of which gRPC says nothing when it is not heeded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from secure_rpc.configuration import ConfigurationError
from secure_rpc.tls.floor import TlsVersion

TIMEOUT_SECONDS = 5.0
READ_BYTES = 65_536
HANDSHAKE_RECORD = b"\x16"  # RFC 8446, section 5.1; a refusal is an alert, or nothing


async def check(credentials: grpc.ServerCredentials, leaf: x509.Certificate, minimum: TlsVersion) -> None:
    """Shake hands with a server made for this alone, on a port of its own, with the credentials of the real one.

    Args:
        credentials: that are to be served with.
        leaf: the certificate that clients should be shown.
        minimum: the least version that is to be spoken.

    Raises:
        ConfigurationError: TLS 1.3 is not spoken, something older is, or another certificate is shown.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    try:
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        await asyncio.to_thread(_check_port, port, leaf, minimum)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"the server's own handshake by TLS 1.3 failed ({error}); gRPC cannot serve with tls.certificate_file"
        ) from None
    finally:
        await server.stop(None)


def _check_port(port: int, leaf: x509.Certificate, minimum: TlsVersion) -> None:
    if _certificate_shown(port) != leaf.public_bytes(Encoding.DER):
        raise ConfigurationError("the server's own handshake showed another certificate than tls.certificate_file has")
    if minimum is TlsVersion.TLS_1_3 and _is_tls_1_2_spoken(port):
        raise ConfigurationError(
            "tls.minimum_version is TLSv1.3, but the server's own handshake by TLS 1.2 succeeded: something has set "
            "GRPC_SSL_CIPHER_SUITES, or imported grpc before secure_rpc.tls.floor.establish()"
        )


def _certificate_shown(port: int) -> bytes | None:
    """Return the certificate that the server shows by TLS 1.3, DER.

    The last flight is not sent: the server sees a client that went away, not one without a certificate.
    """
    received, to_send, tls = _client(ssl.TLSVersion.TLSv1_3)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(to_send.read())
                if data := connection.recv(READ_BYTES):
                    received.write(data)
                else:
                    received.write_eof()
            else:
                return tls.getpeercert(binary_form=True)


def _is_tls_1_2_spoken(port: int) -> bool:
    """Tell whether the server goes on with a client that offers TLS 1.2 alone.

    Its first word tells: later on it would refuse this client for having no certificate, which says nothing.
    """
    _, to_send, tls = _client(ssl.TLSVersion.TLSv1_2)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.sendall(to_send.read())
        try:
            return connection.recv(1) == HANDSHAKE_RECORD
        except ConnectionError:
            return False


def _client(version: ssl.TLSVersion) -> tuple[ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]:
    """Return a client of one version, with what it has received and what it has to send."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # what is shown is compared with what should be, byte by byte
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    return received, to_send, context.wrap_bio(received, to_send, server_hostname="localhost")
