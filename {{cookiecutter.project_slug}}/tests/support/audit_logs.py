"""Logs of audit records that a test has written, as those have them who follow and send them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.observing import CallRecord

MakeRecord: TypeAlias = Callable[..., CallRecord]


def written(path: Path, record: MakeRecord, begin: int, end: int, rotate_bytes: int = 0) -> ChainLog:
    """Write the records of some numbers; every other one is of a call that was refused."""
    log = ChainLog(path, pace=Pace(rotate_bytes=rotate_bytes))
    for number in range(begin, end):
        log.add(record(number, code="OK" if number % 2 else "NOT_FOUND"))
    return log
