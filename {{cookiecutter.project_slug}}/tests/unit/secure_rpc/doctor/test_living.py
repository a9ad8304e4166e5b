"""What a running service shows: each thing that is wrong turns one check from passed to failed, and no other."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from secure_rpc.audit.verify import Finding
from secure_rpc.doctor import living, running
from secure_rpc.doctor.checks import Status
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.running import Running, Where
from secure_rpc.settings import load

from support.certificates import issue
from support.postures import Posture, of_status

NOW_FAR = 32_503_680_000  # the year 3000
NUMBERS = f"""\
# TYPE secure_rpc_build gauge
secure_rpc_build_info{{service="orders"}} 1
# TYPE secure_rpc_workers_ready gauge
secure_rpc_workers_ready 1
# TYPE secure_rpc_calls_in_flight gauge
secure_rpc_calls_in_flight 0
# TYPE secure_rpc_certificate_not_after_timestamp_seconds gauge
secure_rpc_certificate_not_after_timestamp_seconds{{certificate="server"}} {NOW_FAR}
# TYPE secure_rpc_issuer_keys_age_seconds gauge
secure_rpc_issuer_keys_age_seconds{{issuer="https://issuer.example.org"}} 12
# TYPE secure_rpc_crl_next_update_timestamp_seconds gauge
secure_rpc_crl_next_update_timestamp_seconds{{issuer="CN=ca"}} {NOW_FAR}
# TYPE secure_rpc_policy_loaded_timestamp_seconds gauge
secure_rpc_policy_loaded_timestamp_seconds {NOW_FAR}
# TYPE secure_rpc_revocations_age_seconds gauge
secure_rpc_revocations_age_seconds{{list="shared"}} 3
# TYPE secure_rpc_audit_write_failures counter
secure_rpc_audit_write_failures_total 0
# EOF
"""
SERVER = 'secure_rpc_certificate_not_after_timestamp_seconds{certificate="server"}'
KEYS = 'secure_rpc_issuer_keys_age_seconds{issuer="https://issuer.example.org"}'
WHERE = Where("127.0.0.1:9464", "127.0.0.1:50051")
SOUND = Running(
    WHERE,
    ready=True,
    skew_seconds=0.2,
    metrics=running.parse(NUMBERS),
    takes_tls_1_2=False,
    takes_nobody=False,
    logs=(Finding(Path("audit.log"), lines=3),),
)


def with_number(line: str, value: float) -> Callable[[Running], Running]:
    def changed(seen: Running) -> Running:
        lines = [f"{line} {value}" if each.startswith(line) else each for each in NUMBERS.splitlines()]
        assert "\n".join(lines) + "\n" != NUMBERS
        return replace(seen, metrics=running.parse("\n".join(lines) + "\n"))

    return changed


def without_number(name: str) -> Callable[[Running], Running]:
    return lambda seen: replace(seen, metrics={key: each for key, each in seen.metrics.items() if key != name})


CASES: tuple[tuple[str, Callable[[Running], Running]], ...] = (
    ("running-ready", lambda seen: replace(seen, ready=False, ready_said="draining")),
    ("running-tls", lambda seen: replace(seen, takes_tls_1_2=True)),
    ("running-tls", lambda seen: replace(seen, takes_nobody=True)),
    ("running-clock", lambda seen: replace(seen, skew_seconds=-30.0)),
    ("running-metrics", without_number("secure_rpc_calls_in_flight")),
    ("running-workers", with_number("secure_rpc_workers_ready", 0)),
    (
        "running-certificates",
        with_number(SERVER, 1),
    ),
    (
        "running-issuer-keys",
        with_number(KEYS, 4e6),
    ),
    ("running-revocations", with_number('secure_rpc_crl_next_update_timestamp_seconds{issuer="CN=ca"}', 1)),
    ("running-revocations", with_number('secure_rpc_revocations_age_seconds{list="shared"}', 4e6)),
    ("running-policy", with_number("secure_rpc_policy_loaded_timestamp_seconds", 1)),
    ("running-audit", with_number("secure_rpc_audit_write_failures_total", 2)),
    ("running-audit", lambda seen: replace(seen, logs=(Finding(Path("audit.log"), problem="line 5 was changed"),))),
)


def seen_as(posture: Posture, seen: Running) -> Posture:
    before = posture.change_facts
    posture.change_facts = lambda facts: replace(before(facts), running=seen)
    return posture


def test_a_sound_service_passes_all_checks(posture: Posture) -> None:
    report = seen_as(posture, SOUND).report()
    assert {each.check.id for each in report.results} >= {check.id for check in living.CHECKS}
    assert not [result for result in report.results if not result.good]
    assert "running-audit" in of_status(report, Status.PASSED)


@pytest.mark.parametrize(("check", "wrong"), CASES, ids=[f"{each[0]}-{n}" for n, each in enumerate(CASES)])
def test_what_is_wrong_is_found(posture: Posture, check: str, wrong: Callable[[Running], Running]) -> None:
    report = seen_as(posture, wrong(SOUND)).report()
    assert of_status(report, Status.FAILED) == {check}


def test_each_check_of_a_running_service_is_seen_to_fail() -> None:
    assert {each[0] for each in CASES} == {check.id for check in living.CHECKS}


def test_a_service_that_does_not_answer_is_unknown_or_fails_and_nothing_passes(posture: Posture) -> None:
    with nobody() as address:
        settings = load(posture.folder / "config/prod.yaml")
        report = seen_as(posture, running.look(Where(address, address), settings)).report()
    ids = {check.id for check in living.CHECKS}
    assert of_status(report, Status.PASSED) & ids == set()
    assert of_status(report, Status.FAILED) & ids == {"running-ready"}
    assert {"running-tls", "running-metrics", "running-certificates"} <= of_status(report, Status.UNKNOWN)
    assert report.grade is None


def test_no_running_service_is_nothing_to_look_at(posture: Posture) -> None:
    facts = Facts(load(posture.folder / "config/prod.yaml"))
    assert {check.look(facts).status for check in living.CHECKS} == {Status.NOT_APPLICABLE}


@pytest.mark.parametrize("asks", ["asks", ""])
def test_a_port_that_lets_in_tls_1_2_and_clients_without_certificate_is_found_out(
    tmp_path: Path, posture: Posture, asks: str
) -> None:
    made = issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.key_of(made.server))
    if asks:
        context.load_verify_locations(made.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    settings = load(posture.folder / "config/prod.yaml")
    with answering(context) as address, nobody() as admin:
        seen = running.look(Where(admin, address), settings)
    assert (seen.takes_tls_1_2, seen.takes_nobody) == (not asks, not asks)


@contextmanager
def nobody() -> Iterator[str]:
    """Give an address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def answering(context: ssl.SSLContext) -> Iterator[str]:
    """Answer two clients by TLS, with a byte each."""

    def serve() -> None:
        for _ in range(2):
            plain, _address = listening.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as wrapped:
                    wrapped.sendall(os.urandom(1))
            except (ssl.SSLError, ConnectionError):
                plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join(30)
