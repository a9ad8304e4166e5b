"""Lines on their way to disk: appended, synced, anchored; and those who wait for it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from secure_rpc.audit.files import Anchor, anchor_of, begin_next, replace
from secure_rpc.audit.segments import closed_name


class Writing(NamedTuple):
    """What is written at once."""

    lines: list[bytes]  # emptied when they are on disk, and only the next file could not be begun
    call_count: int  # how many of them are records of calls
    size_bytes: int
    last: Anchor  # its last line
    closes: int = 0  # the number of the file that ends with it

    @classmethod
    def of(cls, lines: list[bytes], call_count: int, last: Anchor, closes: int = 0) -> Writing:
        """Return it with its size."""
        return cls(lines, call_count, sum(map(len, lines)), last, closes)


class Writer:
    """Append to the file of a log, in a thread of its own.

    Args:
        path: the log.
        file: the descriptor of its file, closed at the end.
    """

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self.file = file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")

    async def write_beside(self, writing: Writing) -> None:
        """Write, without keeping the event loop.

        Raises:
            OSError: see `write`.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self.write, writing)

    def write(self, writing: Writing) -> None:
        """Append, sync, then say by the anchor that it was done.

        Raises:
            OSError: the same is to be written again.
        """
        if writing.lines:
            self._append(writing)
            writing.lines.clear()
        if writing.closes:
            self.file = begin_next(self._path, closed_name(self._path, writing.closes), self.file)

    def _append(self, writing: Writing) -> None:
        data = memoryview(b"".join(writing.lines))
        start = os.fstat(self.file).st_size
        try:
            while data:
                data = data[os.write(self.file, data) :]
            os.fdatasync(self.file)
            replace(anchor_of(self._path), writing.last.encoded())
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.file, start)  # the same lines will be written again, whole
            raise

    def close(self) -> None:
        """Close the file."""
        self._thread.shutdown()
        os.close(self.file)


class Waiters:
    """Those who wait until a line is on disk."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def until(self, sequence: int) -> asyncio.Future[None]:
        """Return what is done when the line of that number is on disk."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, written))
        return written

    def wake(self, sequence: int) -> None:
        """Tell those who wait for lines up to that number."""
        still = []
        for waiting in self._waiting:
            if waiting[1].done():
                continue
            if waiting[0] <= sequence:
                waiting[1].set_result(None)
            else:
                still.append(waiting)
        self._waiting = still

    def fail(self, error: OSError) -> None:
        """Tell all of them that it could not be written."""
        for _, written in self._waiting:
            if not written.done():
                written.set_exception(error)
        self._waiting = []
