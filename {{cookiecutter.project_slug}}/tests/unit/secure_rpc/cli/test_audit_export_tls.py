"""`audit export` over TLS, to a server that is what it says: syslog by RFC 5425, OTLP by HTTPS."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.audit.export.exporter import BATCH_RECORDS
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.observing import CallRecord
from secure_rpc.platform import Application
from secure_rpc.settings import PREFIX

from support.https import https_server, json_of
from support.processes import module_of
from support.syslog_server import SyslogServer, syslog_server

RECORDS = 2 * BATCH_RECORDS + 1  # on one connection, with what TLS says in between


class Sent:
    """A log, and the command that sends it.

    Args:
        package: of the service.
        folder: of the log.
    """

    def __init__(self, package: str, folder: Path) -> None:
        self._package = package
        self._log = folder / "audit.log"
        log = ChainLog(self._log)
        for number in range(RECORDS - 1):  # the first line is the chain's own
            log.add(CallRecord(0.0, f"call-{number}", "/a/B", "unary", None, "", "", "", "", "OK", "", 0.0))

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        usual = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        environment = {**usual, "SECURE_RPC_CONFIG": "config/dev.yaml", "SECURE_RPC_AUDIT__FILE": str(self._log)}
        command = [sys.executable, "-m", self._package, "audit", "export", "--once", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    @property
    def lines(self) -> list[bytes]:
        return self._log.read_bytes().splitlines()


@pytest.fixture
def sent(application: Application, tmp_path: Path) -> Sent:
    return Sent(module_of(application).partition(".")[0], tmp_path)


def to(server: SyslogServer) -> tuple[str, str]:
    return "--to", f"syslog+tls://localhost:{server.port}"


@pytest.mark.parametrize(
    ("most", "version"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_each_record_comes_once_by_one_connection(
    sent: Sent, tmp_path: Path, most: ssl.TLSVersion, version: str
) -> None:
    with syslog_server(tmp_path / "logs", Authority.create("logs"), most=most) as server:
        done = sent.run(*to(server), "--ca", server.ca_file)
        assert (done.returncode, done.stdout) == (0, f"{RECORDS} records sent\n")
        server.wait(RECORDS)
    assert [message.partition(b"] ")[2] for message in server.messages] == sent.lines
    assert all(message.startswith((b"<110>1 ", b"<109>1 ")) for message in server.messages)
    assert server.connections == [version]


def test_a_server_of_another_ca_or_another_name_gets_nothing(sent: Sent, tmp_path: Path) -> None:
    ours = Authority.create("logs")
    (tmp_path / "ours.pem").write_bytes(ours.certificate_pem)
    for number, (authority, name) in enumerate([(Authority.create("logs"), "localhost"), (ours, "elsewhere.example")]):
        with syslog_server(tmp_path / f"logs-{number}", authority, name=name) as server:
            done = sent.run(*to(server), "--ca", tmp_path / "ours.pem")
            assert (done.returncode, done.stdout) == (1, "")
            assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
        assert (server.messages, server.connections) == ([], [])


def test_a_server_that_asks_for_a_certificate_gets_ours(sent: Sent, tmp_path: Path) -> None:
    clients = Authority.create("clients")
    leaf = clients.issue(Request("exporter", usages=[ExtendedKeyUsageOID.CLIENT_AUTH]))
    leaf.write(tmp_path / "ours.pem", tmp_path / "ours.key")
    with (tmp_path / "ours.pem").open("ab") as file:
        file.write((tmp_path / "ours.key").read_bytes())
    # of TLS 1.2, whose handshake ends after the server has decided: what is sent before that is lost, as syslog has it
    older = ssl.TLSVersion.TLSv1_2
    with syslog_server(tmp_path / "logs", Authority.create("logs"), clients=clients, most=older) as server:
        without = sent.run(*to(server), "--ca", server.ca_file)
        assert (without.returncode, server.messages) == (1, [])
        done = sent.run(*to(server), "--ca", server.ca_file, "--certificate", tmp_path / "ours.pem")
        assert (done.returncode, done.stdout) == (0, f"{RECORDS} records sent\n")
        server.wait(RECORDS)


def test_a_ca_that_cannot_be_read_is_told(sent: Sent, tmp_path: Path) -> None:
    done = sent.run("--to", "syslog+tls://localhost", "--ca", tmp_path / "none.pem")
    assert done.returncode != 0
    assert "--ca, --certificate: cannot be read" in done.stderr


def test_a_collector_of_opentelemetry_is_spoken_to_by_https(sent: Sent, tmp_path: Path) -> None:
    with https_server(tmp_path / "collector", Authority.create("collector")) as server:
        server.answer = lambda _: json_of({})
        stranger = tmp_path / "stranger.pem"
        stranger.write_bytes(Authority.create("collector").certificate_pem)
        url = f"{server.url}/v1/logs"
        assert sent.run("--to", url, "--ca", stranger).returncode == 1
        assert server.seen == []
        done = sent.run("--to", url, "--ca", server.ca_file)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{RECORDS} records sent")
        assert {(seen.verb, seen.path) for seen in server.seen} == {("POST", "/v1/logs")}
        positions: Any = orjson.loads((tmp_path / "audit.log.sent-https").read_bytes())
        assert positions["audit.log"][1] == RECORDS
