"""A server that would speak the wrong TLS, or show the wrong certificate, finds out by itself."""

from __future__ import annotations

import os
import subprocess
import sys

import grpc
import pytest
from cryptography import x509

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, Leaf, server_request
from secure_rpc.tls.floor import CIPHER_SUITES, TlsVersion
from secure_rpc.tls.handshake import check

AUTHORITY = Authority.create("CA")


def credentials(leaf: Leaf) -> grpc.ServerCredentials:
    pair = (leaf.key_pem, leaf.certificate_pem)
    return grpc.ssl_server_credentials([pair], AUTHORITY.certificate_pem, require_client_auth=True)


def issued() -> tuple[Leaf, x509.Certificate]:
    leaf = AUTHORITY.issue(server_request("orders", "example.org"))
    return leaf, x509.load_pem_x509_certificate(leaf.certificate_pem)


async def test_a_server_that_speaks_as_it_should_is_left_alone() -> None:
    leaf, certificate = issued()
    await check(credentials(leaf), certificate, TlsVersion.TLS_1_3)


async def test_another_certificate_than_the_files_is_told() -> None:
    (leaf, _), (_, other) = issued(), issued()
    with pytest.raises(ConfigurationError, match="showed another certificate"):
        await check(credentials(leaf), other, TlsVersion.TLS_1_3)


async def test_a_certificate_that_grpc_cannot_serve_with_is_told() -> None:
    leaf, certificate = issued()
    broken = Leaf(leaf.certificate_pem, issued()[0].key_pem)
    with pytest.raises(ConfigurationError, match=r"handshake by TLS 1\.3 failed"):
        await check(credentials(broken), certificate, TlsVersion.TLS_1_3)


def test_a_process_that_speaks_tls_1_2_is_told_where_it_should_not() -> None:
    script = """
import asyncio, importlib.util, sys
spec = importlib.util.spec_from_file_location("it", sys.argv[1])
it = importlib.util.module_from_spec(spec)
spec.loader.exec_module(it)
leaf, certificate = it.issued()
asyncio.run(it.check(it.credentials(leaf), certificate, it.TlsVersion.TLS_1_2))
print("1.2 may be spoken")
asyncio.run(it.check(it.credentials(leaf), certificate, it.TlsVersion.TLS_1_3))
"""
    environment = {key: value for key, value in os.environ.items() if key != CIPHER_SUITES}
    finished = subprocess.run(
        [sys.executable, "-c", script, __file__],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (1, "1.2 may be spoken\n")
    assert "handshake by TLS 1.2 succeeded" in finished.stderr
