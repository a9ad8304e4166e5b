"""Where a log goes on, whatever ended it: a crash leaves half a line, a closed file without a successor, or nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from secure_rpc.audit.chain import GENESIS, MAX_LEAVES
from secure_rpc.audit.checkpoints import CHECKPOINT
from secure_rpc.audit.files import Anchor, anchor_of, read_anchor
from secure_rpc.audit.segments import STARTED, Unreadable, closed_segments, opened_segment, parsed, said_ends
from secure_rpc.audit.settings import MAX_CHECKPOINT_RECORDS
from secure_rpc.configuration import ConfigurationError

BEGINNING = b'{"chain":'  # of every line
MAX_TAIL_BYTES = 1_000_000  # in which the last line is looked for
MAX_SIGNED_TAIL_BYTES = 16_000_000  # in which the last checkpoint is looked for


class Recovered(NamedTuple):
    """A log as it was found."""

    last: Anchor  # its chain and last line; number 0 where it begins
    number: int  # of the file that is written
    size_bytes: int  # of that file
    began_seconds: float | None  # Unix time at which that file was begun
    torn_bytes: int
    leaves: list[bytes]  # hashes of the lines since the last checkpoint


def recover(path: Path) -> Recovered:
    """Find where a log goes on, and cut off what a crash left of a last line.

    Nothing is touched in a file that is no log of ours, or whose end is not the one that the anchor names: going on
    would overwrite the anchor, and with it what shows that the log was cut off.

    Raises:
        ConfigurationError: it is no log, or not the one that was written.
        OSError: it cannot be read or written.
    """
    size, last, torn = _tail(path)
    is_torn_beginning = not last and bool(torn) and torn[: len(BEGINNING)] == BEGINNING[: len(torn)]
    if size == 0 or is_torn_beginning:
        before, number = _before(path)
        _check_anchor(path, before)
        if is_torn_beginning:
            _move_aside(path, torn)
        return Recovered(before, number, 0, None, len(torn), [])
    try:
        content = parsed(last)
        anchor = Anchor(content["chain"], content["seq"], hashlib.sha256(last).hexdigest())
        number, began_seconds = _beginning(path)
    except ValueError:
        raise ConfigurationError(f"audit.file: {path} is no audit log; name another file, or move it away") from None
    _check_anchor(path, anchor)
    if torn:
        _move_aside(path, torn)
    return Recovered(anchor, number, size - len(torn), began_seconds, len(torn), _leaves(path))


def _check_anchor(path: Path, last: Anchor) -> None:
    anchored = read_anchor(path)
    if not last.sequence and anchored.sequence > 1:  # the first line alone may be lost by a crash amid the first write
        raise ConfigurationError(
            f"audit.file: {path} is empty, but {anchor_of(path)} tells of lines that were written; if the log was "
            "moved on purpose, move the anchor too"
        )
    if not last.sequence or not anchored.sequence:
        return
    is_behind = anchored.chain != last.chain or anchored.sequence > last.sequence
    if is_behind or (anchored.sequence == last.sequence and anchored.head != last.head):
        raise ConfigurationError(
            f"audit.file: {path} does not end as {anchor_of(path)} says: it was cut off or changed after line "
            f"{anchored.sequence} was written; keep both as evidence, and move them away"
        )


def _before(path: Path) -> tuple[Anchor, int]:
    """Return the last line of the closed files, and the number of the file that follows them."""
    closed = closed_segments(path)
    if not closed:
        return Anchor(secrets.token_hex(8), 0, GENESIS), 1
    segment = closed[-1]
    try:
        if segment.is_sealed:
            return said_ends(segment).last, segment.number + 1
        last = b""
        with opened_segment(segment) as file:
            for last in file:  # noqa: B007  # the last one is wanted; this is what a crash amid a rotation costs
                pass
        content = parsed(last)
    except (*Unreadable, ValueError) as error:
        raise ConfigurationError(f"audit.file: {segment.path} cannot be read ({error}); move the log away") from None
    return Anchor(content["chain"], content["seq"], hashlib.sha256(last.rstrip(b"\n")).hexdigest()), segment.number + 1


def _beginning(path: Path) -> tuple[int, float]:
    """Return the number of the file that is written, and the Unix time of its first line."""
    with path.open("rb") as file:
        content = parsed(file.readline(MAX_TAIL_BYTES))
    number = content.get("file", 0) if content["event"] == STARTED else 1
    began = datetime.fromisoformat(str(content["time"])) if "time" in content else datetime.now(UTC)
    if type(number) is not int or number < 1:
        raise ValueError("is no beginning of a file")
    return number, began.timestamp()


def _leaves(path: Path) -> list[bytes]:
    """Return the hashes of the lines since the last checkpoint, as far as they are in this file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_SIGNED_TAIL_BYTES))
        lines = file.read().split(b"\n")[bool(size > MAX_SIGNED_TAIL_BYTES) : -1]
    leaves: list[bytes] = []
    for line in reversed(lines[-(MAX_LEAVES - MAX_CHECKPOINT_RECORDS) :]):
        leaves.append(hashlib.sha256(line).digest())
        if f'"event":"{CHECKPOINT}"'.encode() in line and orjson.loads(line).get("event") == CHECKPOINT:
            break
    return leaves[::-1]


def _tail(path: Path) -> tuple[int, bytes, bytes]:
    """Return the size of a file, its last whole line, and what stands after that."""
    if not path.exists():
        return 0, b"", b""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_TAIL_BYTES))
        whole, _, torn = file.read(MAX_TAIL_BYTES).rpartition(b"\n")
    return size, whole.rpartition(b"\n")[2], torn


def _move_aside(path: Path, torn: bytes) -> None:
    """Cut off what a crash left of a last line, and keep it beside the log."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    path.with_name(f"{path.name}.torn-{stamp}").write_bytes(torn)
    os.truncate(path, path.stat().st_size - len(torn))
