"""Anchors that were kept elsewhere: the log lines `audit anchor` that a service writes, as some collector has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from secure_rpc.configuration import ConfigurationError

EVENT = "audit anchor"


def read_anchors(paths: Iterable[Path]) -> dict[str, dict[int, str]]:
    """Return the anchors in files of log lines, by chain and number; all other lines are passed over.

    Args:
        paths: files of JSON lines; what a collector puts before the JSON does not matter.

    Raises:
        ConfigurationError: a file cannot be read, holds no anchor, or two anchors contradict each other.
    """
    found: dict[str, dict[int, str]] = {}
    for path in paths:
        count = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if EVENT.encode() in line:
                        count += _take(line, found, f"{path}:{number}")
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        if not count:
            raise ConfigurationError(
                f'{path}: holds no anchor; it has the service\'s log in JSON, with the lines whose event is "{EVENT}"'
            )
    return found


def _take(line: bytes, found: dict[str, dict[int, str]], place: str) -> bool:
    try:
        content = orjson.loads(line[line.index(b"{") :])
        if content["event"] != EVENT:
            return False
        chain, sequence, head = str(content["chain"]), int(content["seq"]), str(content["head"])
    except (ValueError, KeyError, TypeError):
        return False
    if found.setdefault(chain, {}).setdefault(sequence, head) != head:
        raise ConfigurationError(f"{place}: contradicts an anchor before it: line {sequence} of {chain} is named twice")
    return True
