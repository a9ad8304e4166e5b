"""TLS 1.3 only. This module must have its say before grpc is imported, so it imports nothing of it.

gRPC has no argument for a least TLS version. Its list of TLS 1.2 cipher suites, cut to one that can never be
negotiated (it needs a pre-shared key, which gRPC does not do), makes TLS 1.2 fail and leaves TLS 1.3 alone.
"""

from __future__ import annotations

import os
import sys
from enum import Enum

CIPHER_SUITES = "GRPC_SSL_CIPHER_SUITES"
NO_TLS_1_2 = "ECDHE-PSK-CHACHA20-POLY1305"
SETTING = "SECURE_RPC_TLS__MINIMUM_VERSION"


class TlsVersion(Enum):
    """The least version of TLS that is spoken."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


def establish() -> None:
    """Let this process speak nothing older than TLS 1.3, as server and client, unless the environment says otherwise.

    Raises:
        RuntimeError: grpc was imported before, or the environment lets TLS 1.2 in by another way.
    """
    if os.environ.get(SETTING) == TlsVersion.TLS_1_2.value:
        return
    found = os.environ.get(CIPHER_SUITES)
    if found == NO_TLS_1_2:
        return
    if found:
        raise RuntimeError(f"{CIPHER_SUITES} is {found!r} in the environment, which would let TLS 1.2 in: unset it")
    if "grpc._cython.cygrpc" in sys.modules:
        raise RuntimeError("grpc was imported before secure_rpc.tls.floor.establish(): import it first")
    os.environ[CIPHER_SUITES] = NO_TLS_1_2


def established() -> TlsVersion:
    """Return the least version that this process speaks."""
    return TlsVersion.TLS_1_3 if os.environ.get(CIPHER_SUITES) == NO_TLS_1_2 else TlsVersion.TLS_1_2


def start_again(minimum: TlsVersion) -> None:
    """Replace this process by one with another least version; grpc reads it once, at import."""
    os.environ[SETTING] = minimum.value
    os.environ.pop(CIPHER_SUITES, None)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # no shell: the same program again
