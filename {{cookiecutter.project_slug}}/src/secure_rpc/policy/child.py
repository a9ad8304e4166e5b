"""The process that reads a policy: YAML of ten thousand bindings takes a second of Python, on a thread or not.

It is told on standard input what to read, and answers in lines of JSON: a header, then flat entries. It imports
neither gRPC nor CEL, and so starts quickly.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy.differences import told
from secure_rpc.policy.document import Known, parse, permissions_of, quotas_of
from secure_rpc.policy.entries import Entry, entries_of, to_plain

ENTRIES_PER_LINE = 250  # what is taken up between two calls
MAX_CHANGES = 100  # that are told of one reload


def answer(order: dict[str, Any]) -> Iterator[bytes]:
    """Yield the lines of the answer."""
    header: dict[str, Any] = {"problems": (), "version": "", "roles": {}, "quotas": {}}
    header |= {"conditions": (), "changes": ()}
    entries: list[Entry] = []
    try:
        document, *before = [parse(Path(path), text) for path, text in order["texts"]]
        document.check(Known(*order["known"]))
    except ConfigurationError as error:
        header["problems"] = error.problems
    else:
        roles = document.policy.roles
        header["version"] = document.version
        header["roles"] = {role: sorted(permissions_of(document.policy, role)) for role in roles}
        header["quotas"] = {
            role: {name: quota.model_dump() for name, quota in quotas.items()}
            for role in roles
            if (quotas := quotas_of(document.policy, role))
        }
        header["conditions"] = document.conditions()
        entries = list(entries_of(document))
        if before:
            header["changes"] = told(before[0].policy, document.policy, MAX_CHANGES)
    yield orjson.dumps(header)
    for start in range(0, len(entries), ENTRIES_PER_LINE):
        yield orjson.dumps(to_plain(entries[start : start + ENTRIES_PER_LINE]))


if __name__ == "__main__":
    gc.disable()  # looking for circles would take more than half of the time, and this process ends soon
    sys.stdout.buffer.writelines(line + b"\n" for line in answer(orjson.loads(sys.stdin.buffer.read())))
