"""A policy taken up while calls go on, however big it is: read in a process of its own, taken over in pieces."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import orjson

from secure_rpc.configuration import ConfigurationError, read_text
from secure_rpc.policy import child
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import Known, PolicyDocument, permissions_of
from secure_rpc.policy.engine import REMEMBERED_PRINCIPALS, Engine
from secure_rpc.policy.entries import from_plain
from secure_rpc.quota import Quota

CHILD_SECONDS = 60.0


def check_conditions(document: PolicyDocument, conditions: Conditions) -> None:
    """Compile the conditions of a policy.

    Raises:
        ConfigurationError: file, line and remedy of each that is wrong.
    """
    problems = [
        f"{place}: {problem}"
        for place, expression, role in document.conditions()
        for problem in conditions.check(expression, permissions_of(document.policy, role))
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
    quotas = {
        role: tuple((name, Quota(**quota)) for name, quota in found.items()) for role, found in header["quotas"].items()
    }
    engine = Engine(header["version"], conditions, size=size)
    problems: list[str] = []
    for place, expression, role in header["conditions"]:
        problems += [f"{place}: {problem}" for problem in conditions.check(expression, permissions[role])]
        await asyncio.sleep(0)
    for line in lines[1:]:
        engine.add(from_plain(orjson.loads(line), permissions, quotas))
        await asyncio.sleep(0)
    if problems:
        raise ConfigurationError(*problems)
    return engine, header["changes"]


def _run_child(order: bytes) -> bytes:
    """Return what the child says.

    Raises:
        ConfigurationError: it did not answer.
    """
    command = [sys.executable, "-P", "-m", child.__name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603  # a module of ours, by this Python
            command, input=order, capture_output=True, timeout=CHILD_SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"the policy could not be read in a process of its own: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(f"the policy could not be read: {said[-1] if said else f'exit {done.returncode}'}")
    return done.stdout
