"""Failed handshakes are read from standard error, and nothing else is lost, changed or held up there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
import threading
import time
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from secure_rpc.telemetry.handshakes import REASONS, HandshakeMetrics, failure_in, failures_read, is_silenced

LINE = (
    "I1122 06:34:55.255057   10869 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "
    "error:1000007d:SSL routines:OPENSSL_internal:{}\n"
)
EXPIRED = LINE.format("CERTIFICATE_VERIFY_FAILED: certificate has expired").encode()
UNTRUSTED = LINE.format("CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate").encode()
STRANGE = LINE.format("SOMETHING_NEW: and its text").encode()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("CERTIFICATE_VERIFY_FAILED: certificate has expired", "expired"),
        ("CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", "not_yet_valid"),
        ("CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate", "untrusted"),
        ("CERTIFICATE_VERIFY_FAILED: self signed certificate", "untrusted"),
        ("CERTIFICATE_VERIFY_FAILED: unsupported certificate purpose", "bad_certificate"),
        ("CERTIFICATE_VERIFY_FAILED: a reason of its own", "bad_certificate"),
        ("CERTIFICATE_VERIFY_FAILED", "bad_certificate"),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE: Invalid certificate verification context", "no_certificate"),
        ("NO_SHARED_CIPHER: Invalid certificate verification context", "old_protocol"),
        ("UNSUPPORTED_PROTOCOL: Invalid certificate verification context", "old_protocol"),
        ("WRONG_VERSION_NUMBER: Invalid certificate verification context", "not_tls"),
        ("HTTP_REQUEST: Invalid certificate verification context", "not_tls"),
        ("EXCESSIVE_MESSAGE_SIZE: Invalid certificate verification context", "malformed"),
        ("SOMETHING_NEW: and its text", "other"),
    ],
)
def test_a_line_tells_the_reason(said: str, reason: str) -> None:
    assert failure_in(LINE.format(said).rstrip().encode()) == reason
    assert reason in REASONS


@pytest.mark.parametrize("line", [b"", b"Traceback", b"OPENSSL_internal:HTTP_REQUEST", b"Handshake failed with error"])
def test_other_lines_tell_none(line: bytes) -> None:
    assert failure_in(line) is None


def test_failures_are_counted_by_reason_and_begin_at_zero() -> None:
    registry = CollectorRegistry()
    metrics = HandshakeMetrics(registry)
    metrics.started()
    metrics.failed("expired")
    values = {
        reason: registry.get_sample_value("grpc_server_tls_handshake_failures_total", {"reason": reason})
        for reason in REASONS
    }
    assert values == {**dict.fromkeys(REASONS, 0.0), "expired": 1.0}
    assert registry.get_sample_value("grpc_server_tls_handshakes_started_total") == 1


@pytest.mark.parametrize(
    ("value", "silent"), [("", False), ("INFO", False), ("debug", False), ("error", True), ("NONE", True)]
)
def test_it_is_known_when_the_core_is_told_to_be_silent(
    monkeypatch: pytest.MonkeyPatch, value: str, *, silent: bool
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", value)
    assert is_silenced() is silent


# --- standard error ----------------------------------------------------------------------------------------------


def test_thousands_at_once_are_counted_and_all_else_is_handed_on_unchanged(capfd: pytest.CaptureFixture[str]) -> None:
    """As many as the pipe holds, so that none is lost even if the reader gets no turn."""
    seen: Counter[str] = Counter()

    def write() -> None:
        for number in range(250):
            os.write(2, EXPIRED)
            os.write(2, UNTRUSTED * 2)
            os.write(2, f"line {number}\n".encode())

    with failures_read(lambda reason: seen.update([reason])):
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == {"expired": 1000, "untrusted": 2000}
    assert Counter(capfd.readouterr().err.splitlines()) == {f"line {number}": 4 for number in range(250)}


def test_pieces_long_lines_and_an_end_without_newline_arrive_as_they_are(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    seen: list[str] = []
    long = b"x" * 200_000
    with failures_read(seen.append):
        for piece in (EXPIRED[:80], EXPIRED[80:], long[:100_000]):
            os.write(2, piece)
            while fcntl.ioctl(2, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0":  # until the thread has taken it
                time.sleep(0.001)
        os.write(2, long[100_000:] + b"\n" + STRANGE + b"\xff\xfe\n")
        os.write(2, EXPIRED + b"no newline")
    assert seen == ["expired", "other", "expired"]
    expected = long + b"\n" + STRANGE + b"\xff\xfe\nno newline"
    assert capfdbinary.readouterr().err == expected


def test_standard_error_is_as_before_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    before, stream = os.fstat(2), sys.stderr
    with failures_read(seen.append):
        pass
    assert os.path.samestat(before, os.fstat(2))
    assert sys.stderr is stream
    os.write(2, EXPIRED)
    assert (seen, capfd.readouterr().err.encode()) == ([], EXPIRED)


def test_a_process_whose_standard_error_nobody_reads_is_not_held_up() -> None:
    """More than all pipes between hold; the process must end by itself, and what Python writes must not raise."""
    code = (
        "import os, sys\n"
        "from secure_rpc.telemetry.handshakes import failures_read\n"
        "with failures_read(lambda reason: None):\n"
        "    print('by Python', file=sys.stderr)\n"
        "    lost = 0\n"
        "    for _ in range(400):\n"
        "        try:\n"
        "            os.write(2, b'y' * 9_999 + b'\\n')\n"
        "        except BlockingIOError:\n"
        "            lost += 1\n"
        "    print('lost' if lost else 'none lost')\n"
    )
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, timeout=20, check=True, text=True
        )
        assert done.stdout == "lost\n"
        assert os.read(reading, 10) == b"by Python\n"
    finally:
        os.close(reading)
        os.close(writing)
