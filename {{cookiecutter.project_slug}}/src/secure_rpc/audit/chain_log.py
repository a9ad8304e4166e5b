"""A file of JSON lines, each with the SHA-256 of the line before it: what is changed, swapped or taken out shows.

A chain alone does not show that its end was cut off: the anchor beside the file names the last line that was
written. Records are encoded on the event loop in small slices, and written and synced by a thread of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from secure_rpc.audit.archive import Archive, Keeping
from secure_rpc.audit.chain import Chain
from secure_rpc.audit.checkpoints import Signer
from secure_rpc.audit.files import NO_ANCHOR, Anchor, open_alone
from secure_rpc.audit.record import AuditEvent, content_of
from secure_rpc.audit.recovery import recover
from secure_rpc.audit.segments import CLOSED, RETIRED, STARTED
from secure_rpc.audit.writing import Waiters, Writer, Writing
from secure_rpc.batching import Batch
from secure_rpc.configuration import ConfigurationError
from secure_rpc.observing import NotedCall

DELAY_SECONDS = 0.2  # that a record may wait for others, where no reply waits for it: each write syncs two files
TIDY_SECONDS = 60.0  # between two looks at the closed files
MAX_WAITING_BYTES = (
    64_000_000  # of records that cannot be written; past it the newest are lost, and counted in the chain
)

logger = logging.getLogger(__name__)


class Pace(NamedTuple):
    """How often what is done."""

    checkpoint_records: int = 1000
    checkpoint_seconds: float = 60.0
    anchor_seconds: float = 60.0
    rotate_bytes: int = 0  # 0: never by size
    rotate_seconds: float = 0.0  # 0: never by age


class ChainLog:
    """Append audit records to a file.

    Args:
        path: the file; a `.anchor` of the same name is kept beside it, and the files that were closed.
        pace: when checkpoints are due, and other files.
        keeping: what becomes of closed files.
        signer: signs checkpoints; none are made without it.
        on_written: is told how many records of calls a write has brought to disk.
        on_failure: is told of each failed attempt to write.
        on_anchor: is told now and then of the last line on disk, so that it can be kept elsewhere.
        on_archive_failure: is told, on a thread, that closed files could not be taken care of.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: the file cannot be opened, or is no chain.
    """

    def __init__(  # noqa: PLR0913  # those who are told, by name
        self,
        path: Path,
        *,
        pace: Pace = Pace(),  # noqa: B008  # a constant
        keeping: Keeping = Keeping(),  # noqa: B008  # a constant
        signer: Signer | None = None,
        on_written: Callable[[int], None] = lambda _: None,
        on_failure: Callable[[OSError], None] = lambda _: None,
        on_anchor: Callable[[Anchor], None] = lambda _: None,
        on_archive_failure: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.failing = False  # the last attempt to write has failed
        self._pace = pace
        self._on_written = on_written
        self._on_failure = on_failure
        self._on_anchor = on_anchor
        self._clock = clock
        self._batch = Batch[NotedCall | AuditEvent](self._encode, DELAY_SECONDS)
        self.add: Callable[[NotedCall | AuditEvent], None] = self._batch.add
        self._lines: list[bytes] = []
        self._calls = 0  # whose records are among them
        self._queue: deque[Writing] = deque()  # what was taken from the lines, and is not on disk
        self._waiting_bytes = 0
        self.written = NO_ANCHOR  # the last line on disk
        self._lost = 0
        self._waiters = Waiters()
        self._writing: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._archive = Archive(path, keeping, on_archive_failure, clock)
        self._signed_at = self._anchored_at = clock()
        self._tidied_at = float("-inf")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(path, open_alone(path))
            try:
                found = recover(path)
                self._chain = Chain(found.last, signer, found.leaves, clock)
                self.file_number, self._file_bytes, self._file_lines = found.number, found.size_bytes, 0
                self._file_began = clock() if found.began_seconds is None else found.began_seconds
                self._open(found.torn_bytes, is_empty=not found.size_bytes)
                while (writing := self._taken()) is not None:
                    self._writer.write(writing)
                    self._note_written()
            except BaseException:
                os.close(self._writer.file)
                raise
        except OSError as error:
            raise ConfigurationError(f"audit.file: {path} cannot be written ({error}); choose another place") from None
        self._on_anchor(self.written)

    @property
    def chain_id(self) -> str:
        """Return the name of the chain."""
        return self._chain.id

    def note(self, event: str, **fields: Any) -> None:
        """Record what was done to the service, not by a call.

        Args:
            event: what it was, such as "policy_reloaded".
            fields: what is to be known of it; plain values.
        """
        self.add(AuditEvent(event, self._clock(), fields))

    def tick(self) -> None:
        """Do what is due by now; to be called about once a second, on the event loop."""
        pace = self._pace
        if self._chain.unsigned > 1 and self._is_past(self._signed_at, pace.checkpoint_seconds):
            self._sign()
        if self._is_past(self._anchored_at, pace.anchor_seconds):
            self._tell_anchor()
        if self._tidying is None and self._is_past(self._tidied_at, TIDY_SECONDS):
            self._tidied_at = self._clock()
            self._tidying = asyncio.get_running_loop().create_task(self._tidy())
        if self._writing is None and (self._lines or self._queue or self._is_full()):
            self._begin_write()

    async def durable(self) -> None:
        """Return when all that was added so far is on disk; those who wait share one write.

        Raises:
            OSError: it could not be written; it is kept, and tried again with what comes next.
        """
        self._batch.flush()
        if self.written.sequence >= self._chain.sequence:
            return
        if self._writing is None:
            self._begin_write()
        await self._waiters.until(self._chain.sequence)

    async def close(self) -> None:
        """Write what is left, and the line that says the chain was ended in order."""
        if self._tidying is not None:
            self._archive.close()
            await asyncio.wait({self._tidying})
        self._batch.flush()
        self._line({"event": "chain_stopped"})
        self._sign()
        with suppress(OSError):  # said in the log already
            await self.durable()
        if self._writing is not None:
            await self._writing
        self._tell_anchor()
        self._archive.close()
        self._writer.close()

    # --- records become lines ----------------------------------------------------------------------------------------

    def _open(self, torn_bytes: int, *, is_empty: bool) -> None:
        if self._chain.sequence == 0:
            self._line({"event": "chain_started"})
        else:
            if is_empty:
                self._line({"event": STARTED, "file": self.file_number})
            self._line({"event": "chain_resumed", "torn_bytes": torn_bytes})
        self._sign()
        self._file_lines = int(not is_empty)

    def _encode(self, records: list[NotedCall | AuditEvent]) -> None:
        for record in records:
            if self._waiting_bytes > MAX_WAITING_BYTES:
                self._lost += 1
            else:
                if isinstance(record, AuditEvent):
                    self._line(record.as_dict())
                else:
                    self._line(content_of(record))
                    self._calls += 1
                if self._chain.unsigned > self._pace.checkpoint_records:
                    self._sign()
        if self._writing is None and not self._batch.waiting:  # each write syncs two files; `tick` bounds the wait
            self._begin_write()

    def _line(self, content: dict[str, Any]) -> None:
        if self._lost:
            content["lost_before"], self._lost = self._lost, 0
        self._append(self._chain.line(content))

    def _sign(self) -> None:
        self._signed_at = self._clock()
        if (line := self._chain.checkpoint()) is not None:
            self._append(line)

    def _append(self, line: bytes) -> None:
        self._lines.append(line + b"\n")
        self._waiting_bytes += len(line) + 1
        self._file_bytes += len(line) + 1
        self._file_lines += 1

    # --- lines become files ------------------------------------------------------------------------------------------

    def _is_past(self, since: float, seconds: float) -> bool:
        return not 0 <= self._clock() - since < seconds  # also where the clock was set back

    def _is_full(self) -> bool:
        """Tell whether the file is to be followed by another; not where nothing but its beginning is in it."""
        pace = self._pace
        if not self._file_lines:
            return False
        is_old = bool(pace.rotate_seconds) and self._clock() - self._file_began >= pace.rotate_seconds
        return is_old or bool(pace.rotate_bytes and self._file_bytes >= pace.rotate_bytes)

    def _taken(self) -> Writing | None:
        """Return what is to be written next; it stays in the queue until it was."""
        if not self._queue:
            if self._is_full():
                self._end_file()
            elif self._lines:
                self._queue.append(Writing.of(self._lines, self._calls, self._chain.last))
                self._lines, self._calls = [], 0
        return self._queue[0] if self._queue else None

    def _end_file(self) -> None:
        """Make the last lines of this file, and the first of the next: what comes meanwhile stands after it."""
        number = self.file_number
        self._line({"event": CLOSED, "file": number})
        self._sign()
        self._queue.append(Writing.of(self._lines, self._calls, self._chain.last, number))
        self._lines, self._calls = [], 0
        self.file_number, self._file_bytes, self._file_began = number + 1, 0, self._clock()
        self._line({"event": STARTED, "file": number + 1})
        self._file_lines = 0

    def _begin_write(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no event loop: a tool, not a server
            while (writing := self._taken()) is not None:
                self._writer.write(writing)
                self._note_written()
        else:
            self._writing = loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while (writing := self._taken()) is not None:
                try:
                    await self._writer.write_beside(writing)
                except OSError as error:
                    self._fail(error)
                    return
                self.failing = False
                self._note_written()
                self._on_written(writing.call_count)
                self._waiters.wake(self.written.sequence)
                if writing.closes:
                    self._tell_anchor()
                    self._tidied_at = float("-inf")
        except BaseException:  # such as a thread that was ended: nobody must wait for what will not come
            self._waiters.fail(OSError("the audit log was closed"))
            raise
        finally:
            self._writing = None

    def _note_written(self) -> None:
        writing = self._queue.popleft()
        self.written = writing.last
        self._waiting_bytes -= writing.size_bytes

    def _fail(self, error: OSError) -> None:
        if not self.failing:
            logger.error("audit records cannot be written to %s: %s", self.path, error)
        self.failing = True
        self._on_failure(error)
        self._waiters.fail(error)

    def _tell_anchor(self) -> None:
        self._anchored_at = self._clock()
        self._on_anchor(self.written)

    async def _tidy(self) -> None:
        """Take care of closed files; those that have come to their end are deleted when the chain says so."""
        try:
            retired = await asyncio.wrap_future(self._archive.tidy())
            for each in retired:
                last = {"last": each.last.sequence, "head": each.last.head}
                self._line({"event": RETIRED, "file": each.segment.number, **last})
            if retired:
                self._sign()
                with suppress(OSError):  # they stay until it can be written
                    await self.durable()
                    await asyncio.wrap_future(self._archive.delete(retired))
        finally:
            self._tidying = None
