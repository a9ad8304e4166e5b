"""A check: what should be so, why, how it is looked at, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from secure_rpc.doctor.facts import Facts

MAX_NAMED = 5  # of those that are at fault, in one sentence


class Level(Enum):
    """A rung of the ladder; each stands on those before it."""

    BEGINNER = "beginner"  # nothing is open that should be shut
    INTERMEDIATE = "intermediate"  # fit for production: it holds under load, failure and mistakes
    ADVANCED = "advanced"  # it holds against those inside, and what it did can be proven

    @property
    def rank(self) -> int:
        """Return its place on the ladder, 0 for the lowest."""
        return list(Level).index(self)


class Status(Enum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    WAIVED = "waived"  # failed, and somebody has said why it may, and until when
    NOT_APPLICABLE = "not applicable"
    UNKNOWN = "unknown"  # it could not be looked at, so it counts as not passed


class Finding(NamedTuple):
    """What came of a check, and what was seen."""

    status: Status
    said: str


Look: TypeAlias = Callable[["Facts"], Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that should be so."""

    id: str
    level: Level
    title: str  # as it should be
    why: str  # the risk, in a sentence
    proof: str  # how it is looked at
    remedy: str  # names the key and the value to set
    docs: str  # the page that explains it
    look: Look


def verdict(good: bool, said: str) -> Finding:  # noqa: FBT001  # what it is called with says it
    """Return what a comparison has shown.

    Args:
        good: whether it is as it should be.
        said: what was seen.
    """
    return Finding(Status.PASSED if good else Status.FAILED, said)


def none_of(offenders: Iterable[str], good: str, bad: str) -> Finding:
    """Return passed where nobody is at fault, else failed with their names.

    Args:
        offenders: the names of those at fault.
        good: what is said where there is none.
        bad: what is said before their names.
    """
    names = sorted(set(offenders))
    if not names:
        return Finding(Status.PASSED, good)
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return Finding(Status.FAILED, f"{bad}: {', '.join(names[:MAX_NAMED])}{rest}")


def not_applicable(reason: str) -> Finding:
    """Return that there is nothing to look at, and why."""
    return Finding(Status.NOT_APPLICABLE, reason)


def unknown(reason: str) -> Finding:
    """Return that it could not be looked at, and why."""
    return Finding(Status.UNKNOWN, reason)
