"""The lines of a log, read from its first file to its last, for those who look for something in them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.segments import Segment, Unreadable, opened_segment, parsed, segments_of
from secure_rpc.configuration import ConfigurationError


class Line(NamedTuple):
    """A line, and what it says."""

    raw: bytes
    content: dict[str, Any]

    @property
    def time(self) -> str:
        """Return when it was, in ISO 8601; those of one log compare as text."""
        return str(self.content.get("time", ""))


def lines_of(path: Path, identity: X25519PrivateKey | None = None, *, skip_sealed: bool = False) -> Iterator[Line]:
    """Yield the lines of a log; whether it is whole, `verify` tells. What is no record is left out.

    Args:
        path: the log; its closed files are beside it.
        identity: opens sealed files.
        skip_sealed: whether sealed files are left out where they cannot be opened.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    for segment in segments_of(path):
        if not (segment.is_sealed and identity is None and skip_sealed):
            yield from _lines_in(segment, identity)


def merged(logs: Iterable[Iterator[Line]]) -> Iterator[Line]:
    """Yield the lines of several logs by their time, as far as each log keeps to it."""
    return heapq.merge(*logs, key=lambda line: line.time)


def _lines_in(segment: Segment, identity: X25519PrivateKey | None) -> Iterator[Line]:
    try:
        with opened_segment(segment, identity) as file:
            for raw in file:
                line = raw.rstrip(b"\n")
                try:
                    content = parsed(line)
                except ValueError:
                    continue
                yield Line(line, content)
    except Unreadable as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(f"{segment.path}: cannot be read ({why}); check the path, and the key") from None
