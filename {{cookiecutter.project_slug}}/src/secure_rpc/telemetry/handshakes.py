"""How many TLS handshakes begin, and how many fail for which reason.

gRPC's Python API tells neither. The names follow gRFC A118 (`grpc.server.tls.handshakes`), whose one counter by result
cannot be had here: what begins is counted where gRPC asks for the certificate, what fails is read from the line that
gRPC's core then writes to standard error. Successes are what is left, but for the failures that leave no line: another
protocol than HTTP/2, a connection that is closed or silent amid the handshake. Channels of this process to other
servers write the same line when their handshake fails; nothing in it tells the two apart.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prometheus_client import CollectorRegistry, Counter

from secure_rpc.telemetry.redaction import scrub_bytes

VERBOSITY = "GRPC_VERBOSITY"
SILENT = frozenset({"ERROR", "NONE"})  # values at which the core does not write the line
PIPE_BYTES = 1 << 20  # some 5,000 lines: what comes while one long step of Python keeps the reader waiting
READ_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 14  # of a line that is held back until it is whole
JOIN_SECONDS = 1.0

_FAILED = re.compile(rb"Handshake failed with error .*OPENSSL_internal:([A-Z0-9_]+)(?:: ([^\n]*))?")
_VERIFICATION = "CERTIFICATE_VERIFY_FAILED"
# What BoringSSL says (err.h, X509_verify_cert_error_string), by our names, with those of gRFC A118 behind
_OF_CERTIFICATES = {
    "certificate has expired": "expired",  # CERTIFICATE_EXPIRED
    "certificate is not yet valid": "not_yet_valid",  # CERTIFICATE_NOT_YET_VALID
    "certificate revoked": "revoked",  # CERTIFICATE_REVOKED
    "unable to get local issuer certificate": "untrusted",  # CERTIFICATE_AUTHORITY_INVALID
    "unable to get issuer certificate": "untrusted",
    "unable to verify the first certificate": "untrusted",
    "self signed certificate": "untrusted",
    "self signed certificate in certificate chain": "untrusted",
    "certificate signature failure": "untrusted",
    "invalid CA certificate": "untrusted",
}
_BAD_CERTIFICATE = "bad_certificate"  # CERTIFICATE_VERIFICATION_FAILED, CERTIFICATE_MALFORMED
_OF_ERRORS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "UNSUPPORTED_PROTOCOL": "old_protocol",  # PROTOCOL_VERSION_UNSUPPORTED
    "NO_SHARED_CIPHER": "old_protocol",  # TLS 1.2, to which the floor leaves no cipher suite that can be had
    "INAPPROPRIATE_FALLBACK": "old_protocol",
    "WRONG_VERSION_NUMBER": "not_tls",
    "HTTP_REQUEST": "not_tls",
    "HTTPS_PROXY_REQUEST": "not_tls",
    "BAD_SIGNATURE": _BAD_CERTIFICATE,
    "CANNOT_PARSE_LEAF_CERT": _BAD_CERTIFICATE,
    "ECC_CERT_NOT_FOR_SIGNING": _BAD_CERTIFICATE,
    "KEY_USAGE_BIT_INCORRECT": _BAD_CERTIFICATE,
    "UNKNOWN_CERTIFICATE_TYPE": _BAD_CERTIFICATE,
    "WRONG_CERTIFICATE_TYPE": _BAD_CERTIFICATE,
    "WRONG_CURVE": _BAD_CERTIFICATE,
    "DECODE_ERROR": "malformed",  # UNEXPECTED_MESSAGE
    "EXCESSIVE_MESSAGE_SIZE": "malformed",
    "UNEXPECTED_MESSAGE": "malformed",
    "UNEXPECTED_RECORD": "malformed",
}
OTHER = "other"  # UNKNOWN_FAILURE
REASONS = tuple(dict.fromkeys([*_OF_CERTIFICATES.values(), *_OF_ERRORS.values(), OTHER]))
OF_CLIENT_CERTIFICATES = frozenset({*_OF_CERTIFICATES.values(), "no_certificate", _BAD_CERTIFICATE})


class HandshakeMetrics:
    """Count the handshakes of a server.

    Args:
        registry: where the counters are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_tls_handshakes_started", "TLS handshakes that clients began.", registry=registry
        )
        failures = Counter(
            "grpc_server_tls_handshake_failures", "TLS handshakes that failed.", ("reason",), registry=registry
        )
        self._failures = {reason: failures.labels(reason) for reason in REASONS}  # zeros show before the first
        self._mtls_failures = Counter(
            "secure_rpc_mtls_failures",
            "Client certificates that were refused, by the handshake or, in capitals, by the call.",
            ("reason",),
            registry=registry,
        )
        for reason in OF_CLIENT_CERTIFICATES:
            self._mtls_failures.labels(reason)

    def started(self) -> None:
        """Count one that begins; may be called on any thread."""
        self._started.inc()

    def failed(self, reason: str) -> None:
        """Count one that failed, for one of `REASONS`; may be called on any thread."""
        self._failures[reason].inc()
        if reason in OF_CLIENT_CERTIFICATES:
            self._mtls_failures.labels(reason).inc()

    def certificate_refused(self, reason: str) -> None:
        """Count a call that was refused for its certificate, which the handshake had let in.

        Args:
            reason: one of the platform's, of which there are few.
        """
        self._mtls_failures.labels(reason).inc()


def failure_in(line: bytes) -> str | None:
    """Return the reason of the failed handshake that a line of standard error tells of, None where it tells of none."""
    found = _FAILED.search(line)
    if found is None:
        return None
    error, text = found[1].decode(), (found[2] or b"").decode(errors="replace").strip()
    if error == _VERIFICATION:
        return _OF_CERTIFICATES.get(text, _BAD_CERTIFICATE)
    return _OF_ERRORS.get(error, OTHER)


def is_silenced() -> bool:
    """Tell whether the environment keeps gRPC's core from writing the lines that are counted."""
    return os.environ.get(VERBOSITY, "").upper() in SILENT


@contextmanager
def failures_read(failed: Callable[[str], None]) -> Iterator[None]:
    """Read this process's standard error for as long as the context lasts, and tell of each handshake that failed.

    File descriptor 2 becomes a pipe that a thread reads. Lines whose reason has a name are counted and dropped, all
    else is handed on, unchanged. The pipe is never waited for: what writes while it is full loses its line. What Python
    itself writes goes past it.

    Args:
        failed: is given one of `REASONS`, on the thread.
    """
    real = os.dup(2)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(OSError, AttributeError):  # not on every platform, not beyond what this user may have
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    python_stderr = sys.stderr
    thread = threading.Thread(target=_read, args=(reading, real, failed), name="standard-error", daemon=True)
    thread.start()
    _flush(python_stderr)
    os.dup2(writing, 2)
    os.close(writing)
    beside = None
    if _is_fd_2(python_stderr):
        beside = open(real, "w", buffering=1, encoding=python_stderr.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115  # closed below
        sys.stderr = beside
    try:
        yield
    finally:
        if beside is not None:
            sys.stderr = python_stderr
            beside.close()
        os.dup2(real, 2)  # the last writer, unless a child has it too: the thread reads what is left, and ends
        thread.join(JOIN_SECONDS)
        if not thread.is_alive():
            os.close(reading)
            os.close(real)


def _is_fd_2(stream: object) -> bool:
    try:
        return stream.fileno() == 2  # type: ignore[attr-defined,no-any-return]  # noqa: PLR2004  # standard error's
    except (AttributeError, OSError, ValueError):
        return False


def _flush(stream: object) -> None:
    with suppress(AttributeError, OSError, ValueError):
        stream.flush()  # type: ignore[attr-defined]


def _read(reading: int, real: int, failed: Callable[[str], None]) -> None:
    """Take lines apart until all writers are gone."""
    held = b""
    while chunk := os.read(reading, READ_BYTES):
        *lines, held = (held + chunk).split(b"\n")
        kept = b"".join([line + b"\n" for line in lines if not _is_counted(line, failed)])
        if len(held) > MAX_LINE_BYTES:  # too long for a line of gRPC's: its rest follows as it comes
            kept, held = kept + held, b""
        _write(real, scrub_bytes(kept))
    _write(real, scrub_bytes(held))


def _is_counted(line: bytes, failed: Callable[[str], None]) -> bool:
    reason = failure_in(line)
    if reason is None:
        return False
    failed(reason)
    return reason != OTHER  # what has no name of ours is for people to read


def _write(real: int, data: bytes) -> None:
    with suppress(OSError):  # nobody reads standard error any more: the counting goes on
        while data:
            data = data[os.write(real, data) :]
