"""All checks made, and the rung that is reached: the highest up to which none has failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from secure_rpc.doctor.catalogue import CHECKS, CONFIGURED
from secure_rpc.doctor.checks import Check, Finding, Level, Status, unknown
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.waivers import Waiver

NEXT = 3  # remedies that are named first
GOOD = frozenset({Status.PASSED, Status.WAIVED, Status.NOT_APPLICABLE})


class Result(NamedTuple):
    """A check and what came of it."""

    check: Check
    status: Status
    said: str
    waiver: Waiver | None = None

    @property
    def good(self) -> bool:
        """Tell whether it keeps nobody from a rung."""
        return self.status in GOOD


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all checks."""

    service: str
    looked_at: str  # what was looked at, in a sentence
    when: str
    results: Sequence[Result]

    @property
    def grade(self) -> Level | None:
        """Return the highest rung that is reached, None where not even the lowest is."""
        reached = None
        for level in Level:
            if not all(result.good for result in self.of(level)):
                return reached
            reached = level
        return reached

    def of(self, level: Level) -> list[Result]:
        """Return the results of one rung."""
        return [result for result in self.results if result.check.level is level]

    def counts(self, level: Level | None = None) -> Counter[Status]:
        """Return how many there are of each status, of one rung or of all."""
        return Counter(result.status for result in self.results if level is None or result.check.level is level)

    @property
    def next_steps(self) -> list[Result]:
        """Return what is to be mended first: of the lowest rung that is not reached, failed ones first."""
        missing = [result for result in self.results if not result.good]
        order = sorted(missing, key=lambda result: (result.check.level.rank, result.status is Status.UNKNOWN))
        return order[:NEXT]

    def holds(self, level: Level) -> bool:
        """Tell whether a rung is reached, with all below it."""
        return self.grade is not None and self.grade.rank >= level.rank

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "service": self.service,
            "looked_at": self.looked_at,
            "when": self.when,
            "grade": None if self.grade is None else self.grade.value,
            "counts": {status.value: self.counts()[status] for status in Status},
            "next": [result.check.id for result in self.next_steps],
            "checks": [_as_dict(result) for result in self.results],
        }


def examine(facts: Facts, looked_at: str) -> Report:
    """Make all checks; those of a running service where there is one.

    Args:
        facts: what is looked at.
        looked_at: where that comes from, in a sentence.
    """
    checks = CONFIGURED if facts.running is None else CHECKS
    waivers = {waiver.id: waiver for waiver in facts.waivers if waiver.until >= facts.now.date()}
    results = [_judged(check, _looked(check, facts), waivers.get(check.id)) for check in checks]
    order = sorted(results, key=lambda result: result.check.level.rank)  # of one rung, in the catalogue's order
    return Report(facts.settings.service.name, looked_at, f"{facts.now:%Y-%m-%d %H:%M} UTC", order)


def _looked(check: Check, facts: Facts) -> Finding:
    """Make a check; one that cannot cope with what it finds must not hide the others."""
    try:
        return check.look(facts)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        return unknown(f"could not be looked at: {type(error).__name__}: {error}")


def _judged(check: Check, finding: Finding, waiver: Waiver | None) -> Result:
    if waiver is not None and finding.status in {Status.FAILED, Status.UNKNOWN}:
        return Result(check, Status.WAIVED, finding.said, waiver)
    return Result(check, finding.status, finding.said)


def _as_dict(result: Result) -> dict[str, Any]:
    check, waiver = result.check, result.waiver
    return {
        "id": check.id,
        "level": check.level.value,
        "title": check.title,
        "why": check.why,
        "proof": check.proof,
        "result": result.status.value,
        "said": result.said,
        "remedy": check.remedy,
        "docs": check.docs,
        "waived": None if waiver is None else {"reason": waiver.reason, "until": waiver.until.isoformat()},
    }
