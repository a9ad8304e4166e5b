"""A file of JSON lines, each with the SHA-256 of the line before it: what is changed, swapped or taken out shows.

A chain alone does not show that its end was cut off: the anchor beside the file names the last line that was
written. Records are encoded on the event loop in small slices, and written and synced by a thread of their own.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import orjson

from secure_rpc.audit.record import AuditRecord
from secure_rpc.batching import Batch
from secure_rpc.configuration import ConfigurationError

BEGINNING = b'{"chain":'  # of every line
MAX_TAIL_BYTES = 1_000_000  # in which the last line is looked for
DELAY_SECONDS = 0.2  # that a record may wait for others, where no reply waits for it: each write syncs two files
GENESIS = "0" * 64  # what the first line of a chain has for the hash of the line before it
MAX_WAITING_BYTES = (
    64_000_000  # of records that cannot be written; past it the newest are lost, and counted in the chain
)

logger = logging.getLogger(__name__)


class Durability(Enum):
    """When a reply may leave."""

    DEFERRED = "deferred"  # before its record is on disk; a crash can lose the last records, not change others
    DURABLE = "durable"  # after; many calls share one write


class ChainLog:
    """Append audit records to a file.

    Args:
        path: the file; a `.anchor` of the same name is kept beside it.
        on_written: is told how many records a write has brought to disk.
        on_failure: is told of each failed attempt to write.

    Raises:
        ConfigurationError: the file cannot be opened, or is no chain.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_written: Callable[[int], None] = lambda _: None,
        on_failure: Callable[[OSError], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.failing = False  # the last attempt to write has failed
        self._on_written = on_written
        self._on_failure = on_failure
        self._batch = Batch[AuditRecord](self._encode, DELAY_SECONDS)
        self.add = self._batch.add
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._written = 0  # sequence number of the last line on disk
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_alone(path)
            try:
                self.chain_id, self._sequence, self._head, torn = _recover(path)
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise ConfigurationError(f"audit.file: {path} cannot be written ({error}); choose another place") from None
        if self._sequence == 0:
            self._line({"event": "chain_started"})
        else:
            self._line({"event": "chain_resumed", "torn_bytes": torn})
        try:
            self._write(self._taken(), self._anchor())
        except OSError as error:
            os.close(self._file)
            raise ConfigurationError(f"audit.file: {path} cannot be written ({error}); choose another place") from None
        self._written = self._sequence

    async def durable(self) -> None:
        """Return when all that was added so far is on disk; those who wait share one write.

        Raises:
            OSError: it could not be written; it is kept, and tried again with what comes next.
        """
        self._batch.flush()
        if self._written >= self._sequence:
            return
        if self._writing is None:
            self._begin_write()
        written = asyncio.get_running_loop().create_future()
        self._waiters.append((self._sequence, written))
        await written

    async def close(self) -> None:
        """Write what is left, and the line that says the chain was ended in order."""
        self._batch.flush()
        self._line({"event": "chain_stopped"})
        with suppress(OSError):  # said in the log already
            await self.durable()
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()
        os.close(self._file)

    def _encode(self, records: list[AuditRecord]) -> None:
        for record in records:
            if self._waiting_bytes > MAX_WAITING_BYTES:
                self._lost += 1
            else:
                self._line(record.as_dict())
        if self._writing is None:
            self._begin_write()

    def _line(self, content: dict[str, Any]) -> None:
        self._sequence += 1
        if "time" not in content:
            content["time"] = datetime.now(UTC).isoformat(timespec="microseconds")
        if self._lost:
            content["lost_before"], self._lost = self._lost, 0
        line = _encoded({"chain": self.chain_id, "seq": self._sequence, "prev": self._head, **content})
        self._head = hashlib.sha256(line).hexdigest()
        self._lines.append(line + b"\n")
        self._waiting_bytes += len(line) + 1

    def _taken(self) -> list[bytes]:
        lines, self._lines, self._waiting_bytes = self._lines, [], 0
        return lines

    def _anchor(self) -> bytes:
        return orjson.dumps({"chain": self.chain_id, "seq": self._sequence, "head": self._head}) + b"\n"

    def _begin_write(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no event loop: a tool, not a server
            self._write(self._taken(), self._anchor())
            self._written = self._sequence
        else:
            self._writing = loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._lines:
                lines, anchor, sequence = self._taken(), self._anchor(), self._sequence
                try:
                    await loop.run_in_executor(self._thread, self._write, lines, anchor)
                except OSError as error:
                    self._lines[:0] = lines
                    self._waiting_bytes += sum(map(len, lines))
                    self._fail(error)
                    return
                self.failing = False
                self._written = sequence
                self._on_written(len(lines))
                self._wake(None)
        except BaseException:  # such as a thread that was ended: nobody must wait for what will not come
            self._wake(OSError("the audit log was closed"))
            raise
        finally:
            self._writing = None

    def _fail(self, error: OSError) -> None:
        if not self.failing:
            logger.error("audit records cannot be written to %s: %s", self.path, error)
        self.failing = True
        self._on_failure(error)
        self._wake(error)

    def _wake(self, error: OSError | None) -> None:
        """Tell those who wait for lines that are on disk now, or all of them that it failed."""
        still: list[tuple[int, asyncio.Future[None]]] = []
        for sequence, written in self._waiters:
            if written.done():
                continue
            if error is not None:
                written.set_exception(error)
            elif sequence <= self._written:
                written.set_result(None)
            else:
                still.append((sequence, written))
        self._waiters = still

    def _write(self, lines: list[bytes], anchor: bytes) -> None:
        """Append, sync, then say by the anchor that it was done; runs in the thread."""
        data = memoryview(b"".join(lines))
        start = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fdatasync(self._file)
            _replace(anchor_of(self.path), anchor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, start)  # the same lines will be written again, whole
            raise


def anchor_of(path: Path) -> Path:
    """Return where the anchor of a log stands."""
    return path.with_name(path.name + ".anchor")


def read_anchor(path: Path) -> tuple[str, int, str]:
    """Return chain id, number and hash of the last line known to be written; number 0 where there is no anchor."""
    try:
        content = orjson.loads(anchor_of(path).read_bytes())
        return str(content["chain"]), int(content["seq"]), str(content["head"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return "", 0, ""


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:  # a lone surrogate, say: a record must not be lost for that, still less those beside it
        return json.dumps(content, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _replace(path: Path, content: bytes) -> None:
    """Replace a file in one step: a crash leaves the old one or the new one, never half of it."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _recover(path: Path) -> tuple[str, int, str, int]:
    """Return chain id, last sequence number and head of a file, and how many bytes of a torn last line there were.

    Nothing is touched in a file that is no log of ours, or whose end is not the one that the anchor names: going on
    would overwrite the anchor, and with it what shows that the log was cut off.
    """
    size, last, torn = _tail(path)
    if size == 0:
        if read_anchor(path)[1] > 1:  # the first line alone may be lost by a crash amid the first write
            raise ConfigurationError(
                f"audit.file: {path} is empty, but {anchor_of(path)} tells of lines that were written; if the log was "
                "moved on purpose, move the anchor too"
            )
        return secrets.token_hex(8), 0, GENESIS, 0
    if not last and torn and torn[: len(BEGINNING)] == BEGINNING[: len(torn)]:
        _move_aside(path, torn)
        return secrets.token_hex(8), 0, GENESIS, len(torn)
    try:
        content = orjson.loads(last)
        chain, sequence, head = str(content["chain"]), int(content["seq"]), hashlib.sha256(last).hexdigest()
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise ConfigurationError(f"audit.file: {path} is no audit log; name another file, or move it away") from None
    named, number, expected = read_anchor(path)
    if number and (named != chain or number > sequence or (number == sequence and head != expected)):
        raise ConfigurationError(
            f"audit.file: {path} does not end as {anchor_of(path)} says: it was cut off or changed after line "
            f"{number} was written; keep both as evidence, and move them away"
        )
    if torn:
        _move_aside(path, torn)
    return chain, sequence, head, len(torn)


def _open_alone(path: Path) -> int:
    """Open a log to append to it; two processes would break each other's chain.

    Raises:
        ConfigurationError: another process has it open.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise ConfigurationError(
            f"audit.file: another process writes to {path}; stop it, or give each a file of its own"
        ) from None
    return file


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
