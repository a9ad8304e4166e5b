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
    found: str | None = None
    for key, value in metadata:
        if key == name:
            if found is not None or not isinstance(value, str):
                raise errors.InvalidArgument(f"{name} must be sent once, as text", reason="METADATA_AMBIGUOUS")
            found = value
    return found or ""
