"""What callers send along with a call, read so that there is one way to read it."""

from __future__ import annotations

from typing import TypeAlias

from secure_rpc import errors

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


def header_of(metadata: Metadata, name: str) -> str:
    """Return the value of an entry, empty where there is none.

    Raises:
        InvalidArgument: the entry is there more than once, or is binary: which one counts would be a guess.
    """
    return headers_of(metadata, (name,))[0]


def headers_of(metadata: Metadata, names: tuple[str, ...]) -> list[str]:
    """Return the values of several entries, each empty where there is none.

    Raises:
        InvalidArgument: as `header_of`.
    """
    found = [""] * len(names)
    seen: set[str] | None = None
    for key, value in metadata:
        if key in names:
            if seen is None:
                seen = set()
            if key in seen or not isinstance(value, str):
                raise errors.InvalidArgument(f"{key} must be sent once, as text", reason="METADATA_AMBIGUOUS")
            seen.add(key)
            found[names.index(key)] = value
    return found
