"""Files of a log: opened by one process alone, replaced in one step, and the anchor that names the last line."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from secure_rpc.configuration import ConfigurationError


class Anchor(NamedTuple):
    """The last line of a chain at some moment."""

    chain: str
    sequence: int
    head: str  # SHA-256 of the line

    def encoded(self) -> bytes:
        """Return it as it is kept beside the log."""
        return orjson.dumps({"chain": self.chain, "seq": self.sequence, "head": self.head}) + b"\n"


NO_ANCHOR = Anchor("", 0, "")


def anchor_of(path: Path) -> Path:
    """Return where the anchor of a log stands."""
    return path.with_name(path.name + ".anchor")


def read_anchor(path: Path) -> Anchor:
    """Return the last line of a log known to be written; number 0 where there is no anchor."""
    try:
        content = orjson.loads(anchor_of(path).read_bytes())
        return Anchor(str(content["chain"]), int(content["seq"]), str(content["head"]))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return NO_ANCHOR


def replace(path: Path, content: bytes) -> None:
    """Replace a file in one step: a crash leaves the old one or the new one, never half of it."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def sync_folder(path: Path) -> None:
    """Have the names in the folder of a file outlive a crash of the machine."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_alone(path: Path, flags: int = 0) -> int:
    """Open a log to append to it; two processes would break each other's chain.

    Raises:
        ConfigurationError: another process has it open.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise ConfigurationError(
            f"audit.file: another process writes to {path}; stop it, or give each a file of its own"
        ) from None
    return file


def begin_next(path: Path, closed: Path, file: int) -> int:
    """Put a new, empty file in the place of the one that is written, and return its descriptor.

    Args:
        path: the log.
        closed: what its file is called from now on.
        file: the descriptor of that file, closed when all went well.

    Raises:
        OSError: all is as it was before.
    """
    beside = path.with_name(path.name + ".next")
    with suppress(FileNotFoundError):
        beside.unlink()  # of an attempt that a crash ended
    new = open_alone(beside, os.O_EXCL)
    try:
        if closed.exists():
            raise FileExistsError(f"{closed} is there already")
        path.rename(closed)
        try:
            beside.rename(path)
        except OSError:
            closed.rename(path)
            raise
    except OSError:
        os.close(new)
        raise
    with suppress(OSError):  # some file systems sync no folders
        sync_folder(path)
    os.close(file)
    return new
