"""The picture of the ladder: a step for each level, how much of it is done, and a flag on the one that is reached."""

from __future__ import annotations

from collections.abc import Iterator

from secure_rpc.doctor.checks import Level, Status
from secure_rpc.doctor.grading import GOOD, Report

WIDTH, HEIGHT, GROUND = 760, 260, 254
STEP_WIDTH, LOWEST, RISE = 246, 84, 52
LEFT, GAP, POLE = 1, 10, 46
BAR_HEIGHT = 12
# as wide as their counts, so that the eye sees them before the numbers
BARS = (Status.PASSED, Status.WAIVED, Status.NOT_APPLICABLE, Status.UNKNOWN, Status.FAILED)


def ladder(report: Report) -> str:
    """Return the picture, as SVG inside of a page."""
    return "\n".join(_ladder(report))


def _ladder(report: Report) -> Iterator[str]:
    grade = "no rung" if report.grade is None else report.grade.value
    top = min(_place(level)[1] - (POLE if level is report.grade else 0) for level in Level) - 2
    yield f'<figure><svg class="ladder" viewBox="0 {top} {WIDTH} {HEIGHT - top}" role="img"'
    yield 'aria-labelledby="ladder-title ladder-said">'
    yield f'<title id="ladder-title">The ladder: {grade} is reached</title>'
    yield f'<desc id="ladder-said">{"; ".join(_said(report, level) for level in Level)}</desc>'
    yield f'<line class="ground" x1="0" y1="{GROUND}" x2="{WIDTH}" y2="{GROUND}"/>'
    for level in Level:
        yield from _step(report, level)
    yield from _flag(report)
    yield "</svg></figure>"


def _step(report: Report, level: Level) -> Iterator[str]:
    x, top = _place(level)
    results = report.of(level)
    good = sum(result.good for result in results)
    kind = "reached" if report.holds(level) else "missed"
    yield f'<rect class="step {kind}" x="{x}" y="{top}" width="{STEP_WIDTH}" height="{GROUND - top}" rx="4"/>'
    yield f'<text class="name" x="{x + 14}" y="{top + 30}">{level.value}</text>'
    yield f'<text class="share" x="{x + 14}" y="{top + 50}">{good} of {len(results)} hold</text>'
    at, whole = float(x + 14), STEP_WIDTH - 28
    for status in BARS:
        wide = whole * report.counts(level)[status] / max(len(results), 1)
        if wide:
            kind = status.value.replace(" ", "-")
            yield f'<rect class="bar {kind}" x="{at:.1f}" y="{top + 60}" width="{wide:.1f}" height="{BAR_HEIGHT}"/>'
        at += wide


def _flag(report: Report) -> Iterator[str]:
    if report.grade is None:
        return
    x, top = _place(report.grade)
    x += STEP_WIDTH - 40
    yield f'<line class="pole" x1="{x}" y1="{top}" x2="{x}" y2="{top - POLE}"/>'
    yield f'<path class="flag" d="M{x} {top - POLE} l30 10 l-30 10 z"/>'


def _place(level: Level) -> tuple[int, int]:
    x = LEFT + level.rank * (STEP_WIDTH + GAP)
    return x, GROUND - LOWEST - level.rank * RISE


def _said(report: Report, level: Level) -> str:
    counts = report.counts(level)
    good = sum(counts[status] for status in GOOD)
    failed, unknown = counts[Status.FAILED], counts[Status.UNKNOWN]
    return f"{level.value}: {good} of {counts.total()} hold, {failed} failed, {unknown} unknown"
