"""Records to write, and logs that were written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.call import Principal
from secure_rpc.observing import CallRecord


@pytest.fixture(scope="session")
def record() -> Callable[..., CallRecord]:
    """Return what makes a record."""

    def make(number: int = 0, **said: Any) -> CallRecord:
        usual: dict[str, Any] = {
            "time_seconds": 1_767_225_600.5,
            "call_id": f"call-{number}",
            "method": "/things.v1.Things/Get",
            "kind": "unary",
            "principal": Principal("spiffe://example.org/a", "https://issuer.example.org", "alice", proofs=("token",)),
            "workload": "spiffe://example.org/a",
            "tenant": "acme",
            "rule": "bindings[0] reader",
            "peer": "ipv4:127.0.0.1:1",
            "code": "OK",
            "reason": "",
            "duration_seconds": 0.001_5,
        }
        return CallRecord(**(usual | said))

    return make


@pytest.fixture
def log_of(tmp_path: Path, record: Callable[..., CallRecord]) -> Callable[[int], Path]:
    """Return what writes that many records and gives the file, as a process leaves it that is killed."""

    def write(count: int) -> Path:
        log = ChainLog(tmp_path / "audit.log")
        for number in range(count):
            log.add(record(number))
        os.close(log._writer.file)  # as the end of a process does
        return log.path

    return write
