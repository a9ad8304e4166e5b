"""Policies read and checked in a process of their own, so that a big one does not make calls wait.

YAML of ten thousand bindings takes a second of Python, thread or not. What the child sends are flat entries, in lines
that are taken up one by one between calls.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from secure_rpc.configuration import ConfigurationError, read_text
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.differences import told
from secure_rpc.policy.document import Known, PolicyDocument, parse, permissions_of
from secure_rpc.policy.engine import REMEMBERED_PRINCIPALS, Engine
from secure_rpc.policy.entries import Entry, entries_of, from_plain, to_plain

ENTRIES_PER_LINE = 250
CHILD_SECONDS = 60.0
MAX_CHANGES = 100  # that are told of one reload


def check_conditions(document: PolicyDocument, conditions: Conditions) -> None:
    """Compile the conditions of a policy.

    Raises:
        ConfigurationError: file, line and remedy of each that is wrong.
    """
    problems = [
        f"{document.source.place(('bindings', number, 'condition'))}: {problem}"
        for number, binding in enumerate(document.policy.bindings)
        if binding.condition
        for problem in conditions.check(binding.condition, permissions_of(document.policy, binding.role))
    ]
    if problems:
        raise ConfigurationError(*problems)


class PolicyText(NamedTuple):
    """A policy as it was read from its file, once: what is told of it is about one and the same text."""

    path: Path
    text: str

    @classmethod
    def of(cls, path: Path) -> PolicyText:
        """Read a file.

        Raises:
            ConfigurationError: it cannot be read.
        """
        return cls(path, read_text(path))


async def load_beside(
    policy: PolicyText,
    known: Known,
    conditions: Conditions,
    before: PolicyText | None = None,
    size: int = REMEMBERED_PRINCIPALS,
) -> tuple[Engine, list[str]]:
    """Read a policy while calls go on.

    Args:
        policy: its text.
        known: what it may speak of.
        conditions: compile its conditions.
        before: the policy to tell the changes from.
        size: for how many principals the engine remembers the grants.

    Returns:
        the engine, and what changed in words.

    Raises:
        ConfigurationError: the policy is not sound.
    """
    texts = [[str(each.path), each.text] for each in (policy, before) if each is not None]
    order = orjson.dumps({"texts": texts, "known": [list(names) for names in known]})
    lines = (await asyncio.to_thread(_run_child, order)).splitlines()
    header = orjson.loads(lines[0])
    if header["problems"]:
        raise ConfigurationError(*header["problems"])
    permissions = {role: frozenset(names) for role, names in header["roles"].items()}
    engine = Engine(header["version"], conditions, size=size)
    checked: set[tuple[str, str]] = set()
    problems: list[str] = []
    async for entries in _read(lines[1:], permissions):
        engine.add(entries)
        for entry in entries:
            if entry.condition and (entry.condition, entry.role) not in checked:
                checked.add((entry.condition, entry.role))
                found = conditions.check(entry.condition, entry.permissions)
                problems += [f"{entry.place}: {problem}" for problem in found]
                await asyncio.sleep(0)
    if problems:
        raise ConfigurationError(*problems)
    return engine, header["changes"]


async def _read(lines: list[bytes], permissions: dict[str, frozenset[str]]) -> AsyncIterator[list[Entry]]:
    for line in lines:
        yield from_plain(orjson.loads(line), permissions)
        await asyncio.sleep(0)


def _run_child(order: bytes) -> bytes:
    """Return what the child says.

    Raises:
        ConfigurationError: it did not answer.
    """
    command = [sys.executable, "-P", "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603  # this module, by this Python
            command, input=order, capture_output=True, timeout=CHILD_SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"the policy could not be read in a process of its own: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(f"the policy could not be read: {said[-1] if said else f'exit {done.returncode}'}")
    return done.stdout


def answer(order: dict[str, Any]) -> Iterator[bytes]:
    """Yield the child's lines: a header, then entries."""
    header: dict[str, Any] = {"problems": (), "version": "", "roles": {}, "changes": ()}
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
        entries = list(entries_of(document))
        if before:
            header["changes"] = told(before[0].policy, document.policy, MAX_CHANGES)
    yield orjson.dumps(header)
    for start in range(0, len(entries), ENTRIES_PER_LINE):
        yield orjson.dumps(to_plain(entries[start : start + ENTRIES_PER_LINE]))


if __name__ == "__main__":
    sys.stdout.buffer.writelines(line + b"\n" for line in answer(orjson.loads(sys.stdin.buffer.read())))
