"""What becomes of closed files: compressed, encrypted, and in the end deleted. In a thread, off the event loop."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from secure_rpc.audit.files import Anchor, sync_folder
from secure_rpc.audit.sealing import seal
from secure_rpc.audit.segments import (
    COMPRESSED,
    SEALED,
    Ends,
    Segment,
    Unreadable,
    before_first,
    closed_segments,
    parsed,
)

CHUNK_BYTES = 1 << 18
GZIP_LEVEL = 6
UNFINISHED = ".part"

logger = logging.getLogger(__name__)


class Keeping(NamedTuple):
    """How closed files are kept."""

    segments: int = 0  # at most; 0: all
    seconds: float = 0.0  # each of them; 0: for ever
    compress: bool = False
    recipient: X25519PublicKey | None = None


class Retired(NamedTuple):
    """A closed file that has come to its end."""

    segment: Segment
    last: Anchor  # its last line


class _Stopped(Exception):
    """The process is about to end; what is left is done at the next start."""


class Archive:
    """Keep the closed files of a log as its settings say.

    Args:
        path: the log.
        keeping: the settings.
        on_failure: is told of what went wrong, on the thread.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        path: Path,
        keeping: Keeping,
        on_failure: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._keeping = keeping
        self._on_failure = on_failure
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-archive")

    def tidy(self) -> Future[list[Retired]]:
        """Compress and encrypt what was closed; return the files that are due to be deleted, oldest first."""
        return self._thread.submit(self._tidy)

    def delete(self, retired: list[Retired]) -> Future[None]:
        """Delete files, oldest first, after the chain has said so."""
        return self._thread.submit(self._delete, retired)

    def close(self) -> None:
        """End what is under way."""
        self._stopping.set()
        self._thread.shutdown(cancel_futures=True)

    def _tidy(self) -> list[Retired]:
        try:
            for left in self._path.parent.glob(f"{_escaped(self._path.name)}-*{UNFINISHED}"):
                left.unlink()
            for segment in closed_segments(self._path):
                if not segment.is_compressed and not segment.is_sealed:
                    self._pack(segment)
            return self._due()
        except _Stopped:
            return []
        except (*Unreadable, ValueError) as error:
            self._on_failure()
            logger.error("closed audit files of %s are left as they are: %s", self._path, error)  # noqa: TRY400
            return []

    def _pack(self, segment: Segment) -> None:
        keeping = self._keeping
        if not keeping.compress and keeping.recipient is None:
            return
        plain = segment.path
        ending = COMPRESSED * keeping.compress + SEALED * (keeping.recipient is not None)
        packed = plain.with_name(plain.name + ending)
        beside = plain.with_name(plain.name + ending + UNFINISHED)
        with plain.open("rb") as source, os.fdopen(os.open(beside, _NEW, 0o600), "wb") as target:
            pieces = _compressed(source) if keeping.compress else iter(lambda: source.read(CHUNK_BYTES), b"")
            if keeping.recipient is not None:
                fields = ends_of(plain).fields(segment.number)
                pieces = seal(_reader(pieces), keeping.recipient, fields)
            for piece in pieces:
                if self._stopping.is_set():
                    raise _Stopped
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        age = plain.stat()
        os.utime(beside, (age.st_atime, age.st_mtime))  # what `audit.retain_seconds` counts from
        beside.rename(packed)
        with suppress(OSError):
            sync_folder(packed)
        plain.unlink()

    def _due(self) -> list[Retired]:
        keeping, closed = self._keeping, closed_segments(self._path)
        surplus = max(0, len(closed) - keeping.segments) if keeping.segments else 0
        oldest = self._clock() - keeping.seconds
        due = []
        for number, (segment, following) in enumerate(itertools.pairwise([*closed, Segment(self._path, 0)])):
            if number >= surplus and not (keeping.seconds and segment.path.stat().st_mtime < oldest):
                break
            due.append(Retired(segment, before_first(following)))
        return due

    def _delete(self, retired: list[Retired]) -> None:
        for each in retired:
            try:
                each.segment.path.unlink(missing_ok=True)
            except OSError as error:
                self._on_failure()
                logger.error("%s cannot be deleted: %s", each.segment.path, error)  # noqa: TRY400
                return  # those after it go after it


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def ends_of(plain: Path) -> Ends:
    """Return where a file begins and ends.

    Raises:
        OSError, ValueError: it cannot be told.
    """
    with plain.open("rb") as file:
        first = parsed(file.readline())
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1_000_000))
        last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    chain = first["chain"]
    end = Anchor(chain, parsed(last)["seq"], hashlib.sha256(last).hexdigest())
    return Ends(Anchor(chain, first["seq"] - 1, first["prev"]), end)


def _compressed(source: IO[bytes]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as packed:
        while chunk := source.read(CHUNK_BYTES):
            packed.write(chunk)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """Return what gives as many bytes as it is asked for, fewer at the end."""
    held = bytearray()

    def read(count: int) -> bytes:
        while len(held) < count and (piece := next(pieces, None)) is not None:
            held.extend(piece)
        taken = bytes(held[:count])
        del held[:count]
        return taken

    return read


def _escaped(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
