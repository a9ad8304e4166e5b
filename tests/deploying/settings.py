"""Tells what settings a service reads from a file and its environment; run by the service's own Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from secure_rpc import settings


def files(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Yield each path, with its key."""
    if isinstance(value, Path):
        yield key, str(value)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from files(part, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from files(part, f"{key}.{number}")


read = settings.load(Path(sys.argv[1]))
print(json.dumps({"settings": read.model_dump(mode="json"), "files": dict(files(read.model_dump(), ""))}))
