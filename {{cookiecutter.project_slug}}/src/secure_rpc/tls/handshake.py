"""A server's handshakes, tried by itself before it serves: by TLS 1.3, by nothing older, and with the right leaf.

The floor rests on a list of ciphers in the environment, of which gRPC says nothing when it is not heeded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from secure_rpc.configuration import ConfigurationError
from secure_rpc.tls.floor import TlsVersion

TIMEOUT_SECONDS = 5.0
READ_BYTES = 65_536


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
    shown = _shake_hands(port, ssl.TLSVersion.TLSv1_3)
    if shown != leaf.public_bytes(Encoding.DER):
        raise ConfigurationError("the server's own handshake showed another certificate than tls.certificate_file has")
    if minimum is TlsVersion.TLS_1_2:
        return
    try:
        _shake_hands(port, ssl.TLSVersion.TLSv1_2)
    except TimeoutError:
        raise
    except OSError:
        return
    raise ConfigurationError(
        "tls.minimum_version is TLSv1.3, but the server's own handshake by TLS 1.2 succeeded: something has set "
        "GRPC_SSL_CIPHER_SUITES, or imported grpc before secure_rpc.tls.floor.establish(); the service does not start"
    )


def _shake_hands(port: int, version: ssl.TLSVersion) -> bytes | None:
    """Return the certificate that the server shows, DER.

    The last flight is not sent: the server sees a client that went away, not one without a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # what is shown is compared with what should be, byte by byte
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, to_send, server_hostname="localhost")
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
