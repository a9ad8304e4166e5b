"""The files of one chain: those that were closed, in order, and the one that is written.

A closed file is called by the log's name and its number, `audit.log-000001`; compressed it ends with `.gz`, encrypted
with `.sealed`. It is no `audit.*.log`: that would be a worker's log.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import orjson
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.files import Anchor
from secure_rpc.audit.sealing import SealBroken, header_of, opened

COMPRESSED, SEALED = ".gz", ".sealed"
STARTED, CLOSED, RETIRED = "segment_started", "segment_closed", "segment_retired"  # events of a chain
MAX_LINE_BYTES = 1_000_000

Unreadable = (OSError, EOFError, zlib.error, SealBroken)  # what reading a closed file may raise


class Segment(NamedTuple):
    """A file of a chain."""

    path: Path
    number: int  # 0 for the one that is written: its first line tells
    is_compressed: bool = False
    is_sealed: bool = False


class Ends(NamedTuple):
    """Where in a chain a file begins and ends."""

    before: Anchor  # the line before its first
    last: Anchor

    def fields(self, number: int) -> dict[str, Any]:
        """Return what the first line of a sealed file says of it."""
        return {
            "chain": self.before.chain,
            "file": number,
            "first": self.before.sequence + 1,
            "prev": self.before.head,
            "last": self.last.sequence,
            "head": self.last.head,
        }


def closed_name(path: Path, number: int) -> Path:
    """Return what a file of a log is called after it was closed."""
    return path.with_name(f"{path.name}-{number:06}")


def closed_segments(path: Path) -> list[Segment]:
    """Return the closed files of a log in order; of one that is there twice, what it was made from."""
    pattern = re.compile(re.escape(path.name) + r"-(\d{6,})(\.gz)?(\.sealed)?")
    found: dict[int, Segment] = {}
    if path.parent.is_dir():
        for each in sorted(path.parent.iterdir()):  # the shorter name first: the file that the other is made from
            if match := pattern.fullmatch(each.name):
                number = int(match[1])
                found.setdefault(number, Segment(each, number, bool(match[2]), bool(match[3])))
    return [found[number] for number in sorted(found)]


def segments_of(path: Path) -> list[Segment]:
    """Return all files of a log in order, the one that is written last."""
    return [*closed_segments(path), Segment(path, 0)]


@contextmanager
def opened_segment(segment: Segment, identity: X25519PrivateKey | None = None) -> Iterator[IO[bytes]]:
    """Open a file to read its lines.

    Raises:
        OSError, EOFError, zlib.error, SealBroken: it cannot be read, now or later on.
    """
    with segment.path.open("rb") as file:
        stream: IO[bytes] = file
        if segment.is_sealed:
            if identity is None:
                raise SealBroken("is sealed; only who has the key can read it (--identity)")
            stream = io.BufferedReader(_Pieces(opened(file, identity)))
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb")) if segment.is_compressed else stream


def said_ends(segment: Segment) -> Ends:
    """Return where a sealed file says that it begins and ends; whether that is true, only who has the key can tell.

    Raises:
        OSError, SealBroken: it says nothing.
    """
    with segment.path.open("rb") as file:
        header, _ = header_of(file)
    try:
        chain = str(header["chain"])
        before = Anchor(chain, int(header["first"]) - 1, str(header["prev"]))
        return Ends(before, Anchor(chain, int(header["last"]), str(header["head"])))
    except (KeyError, TypeError, ValueError):
        raise SealBroken("is no sealed file") from None


def before_first(segment: Segment) -> Anchor:
    """Return the line before the first one of a file.

    Raises:
        OSError, EOFError, zlib.error, SealBroken, ValueError: it cannot be had.
    """
    if segment.is_sealed:
        return said_ends(segment).before
    with opened_segment(segment) as file:
        content = parsed(file.readline(MAX_LINE_BYTES))
    return Anchor(content["chain"], content["seq"] - 1, content["prev"])


def parsed(line: bytes) -> dict[str, Any]:
    """Return a line as a record of a chain.

    Raises:
        ValueError: it is none.
    """
    try:
        content: dict[str, Any] = orjson.loads(line)
        if (
            type(content["seq"]) is int
            and type(content["chain"]) is str
            and type(content["prev"]) is str
            and type(content["event"]) is str
        ):
            return content
    except (KeyError, TypeError, orjson.JSONDecodeError):
        pass
    raise ValueError("is no audit record")


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(into), len(self._left))
        into[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
