"""The lines of a log as they come, from one file to the next, from where somebody had come to before."""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.segments import (
    STARTED,
    Segment,
    Unreadable,
    before_first,
    closed_segments,
    opened_segment,
    parsed,
)
from secure_rpc.audit.trail import Line
from secure_rpc.configuration import ConfigurationError


class Position(NamedTuple):
    """Up to where a log was read."""

    chain: str = ""
    sequence: int = 0


BEGINNING = Position()


class Follower:
    """Read a log while it is written.

    Args:
        path: the log; it may not be there yet.
        position: up to where it was read before.
        identity: opens sealed files.
    """

    def __init__(self, path: Path, position: Position = BEGINNING, identity: X25519PrivateKey | None = None) -> None:
        self._path = path
        self._position = position
        self._identity = identity
        self._opened = ExitStack()
        self._file: IO[bytes] | None = None
        self._is_closed = False  # the file will not grow any more
        self._number = 0  # of the file; 0: not known yet

    def read(self, limit: int) -> list[Line]:
        """Return lines that are new, as many as are there, up to a limit.

        Raises:
            ConfigurationError: what comes next cannot be read.
        """
        lines: list[Line] = []
        try:
            while len(lines) < limit:
                if self._file is None and not self._open():
                    break
                line = self._next()
                if line is not None:
                    lines.append(line)
                elif not self._is_closed:
                    break
                else:
                    self._leave()
        except FileNotFoundError:  # it was compressed just now, and has another name
            self._leave()
        except Unreadable as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ConfigurationError(f"{self._path}: what comes next cannot be read: {why}") from None
        return lines

    def close(self) -> None:
        """Close what is open."""
        self._opened.close()

    def _next(self) -> Line | None:
        """Return the next line that was not read before; None where there is none for now."""
        file = self._file
        if file is None:
            return None
        while True:
            before = 0 if self._is_closed else file.tell()
            raw = file.readline()
            if not raw.endswith(b"\n"):
                if self._is_closed:
                    return None
                file.seek(before)  # nothing, or a line that is being written
                if not self._was_replaced(file):
                    return None
                self._is_closed = True  # what came before it was closed is still to be read
                continue
            try:
                line = Line(raw[:-1], parsed(raw[:-1]))
            except ValueError:
                continue
            self._note_number(line)
            position = Position(line.content["chain"], line.content["seq"])
            if position.chain == self._position.chain and position.sequence <= self._position.sequence:
                continue
            self._position = position
            return line

    def _note_number(self, line: Line) -> None:
        if not self._number:
            self._number = int(line.content.get("file", 1)) if line.content["event"] == STARTED else 1

    def _was_replaced(self, file: IO[bytes]) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:  # between two files
            return False

    def _open(self) -> bool:
        """Open the file that holds what comes next; tell whether there is one."""
        segment = self._following()
        if segment is None:
            return False
        self._file = self._opened.enter_context(opened_segment(segment, self._identity))
        self._is_closed, self._number = segment.number > 0, segment.number
        return True

    def _following(self) -> Segment | None:
        closed = closed_segments(self._path)
        active = Segment(self._path, 0)
        if self._number:
            after = [segment for segment in closed if segment.number > self._number]
        else:
            after = [
                segment for segment, following in itertools.pairwise([*closed, active]) if not self._was_read(following)
            ]
        if after:
            return after[0]
        return active if self._path.exists() else None

    def _was_read(self, following: Segment) -> bool:
        """Tell whether all before a file was read."""
        try:
            before = before_first(following)
        except (*Unreadable, ValueError):  # the file that is written may have no line yet
            return False
        return (before.chain, before.sequence <= self._position.sequence) == (self._position.chain, True)

    def _leave(self) -> None:
        self._opened.close()
        self._file = None
