"""A worker's end of the line: the place it is given, and the audit log that goes with it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.configuration import ConfigurationError, read_yaml
from secure_rpc.settings import Settings
from secure_rpc.testing.service import CONFIG, merged
from secure_rpc.workers.control import Control, audit_file, audit_files


def settings_with(**overrides: Any) -> Settings:
    return Settings(**merged(read_yaml(CONFIG).data, overrides))


@pytest.fixture(autouse=True)
def _hangup() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def placed(answer: bytes, settings: Settings) -> tuple[dict[str, Any], Settings]:
    """Return what a worker tells its supervisor, and what it makes of the answer."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(answer)
        ours.shutdown(socket.SHUT_WR)
        control = Control(theirs.detach())
        try:
            result = control.place(settings)
        finally:
            told = json.loads(ours.recv(1 << 16))
            control._socket.close()
        assert control.port == 9464
        return told, result


def test_a_worker_tells_its_plan_and_takes_its_place(tmp_path: Path) -> None:
    settings = settings_with(workers=3, audit={"file": tmp_path / "audit.log"})
    answer = {"slot": 2, "address": "127.0.0.1:4711", "admin_port": 9464, "probe_port": 0}
    told, result = placed(json.dumps(answer).encode() + b"\n", settings)
    assert (told["plan"]["workers"], told["plan"]["address"]) == (3, settings.listen.address)
    assert (result.listen.address, result.audit.file) == ("127.0.0.1:4711", tmp_path / "audit.2.log")
    assert result.tls == settings.tls


def test_what_the_supervisor_refuses_is_told_to_people() -> None:
    with pytest.raises(ConfigurationError, match=r"listen.address: no"):
        placed(b'{"refused": ["listen.address: no"]}\n', settings_with())


def test_a_worker_that_is_not_needed_ends_well() -> None:
    with pytest.raises(SystemExit) as ended:
        placed(b"", settings_with())
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("file", "slot", "expected"),
    [
        ("a/audit.log", 0, "a/audit.log"),
        ("a/audit.log", 1, "a/audit.1.log"),
        ("a/audit", 12, "a/audit.12"),
        ("a/audit.log.json", 1, "a/audit.log.1.json"),
    ],
)
def test_each_worker_has_an_audit_log_of_its_own(file: str, slot: int, expected: str) -> None:
    assert audit_file(Path(file), slot) == Path(expected)


def test_all_logs_are_looked_for_that_there_are_or_must_be(tmp_path: Path) -> None:
    for name in ("audit.log", "audit.3.log", "audit.03.log", "audit.x.log", "audit.1.log.anchor", "other.2.log"):
        (tmp_path / name).touch()
    settings = settings_with(workers=2, audit={"file": tmp_path / "audit.log"})
    assert [path.name for path in audit_files(settings)] == ["audit.log", "audit.1.log", "audit.3.log"]


def test_a_name_with_wildcards_is_only_a_name(tmp_path: Path) -> None:
    for name in ("a[b]*.1.log", "ab.2.log"):
        (tmp_path / name).touch()
    settings = settings_with(audit={"file": tmp_path / "a[b]*.log"})
    assert [path.name for path in audit_files(settings)] == ["a[b]*.log", "a[b]*.1.log"]
