"""The report as one page of HTML: nothing is loaded, nothing is run, and it prints."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from secure_rpc.doctor.checks import Level, Status
from secure_rpc.doctor.grading import Report, Result
from secure_rpc.doctor.ladder import ladder
from secure_rpc.doctor.style import STYLE

MEANING = {
    Level.BEGINNER: "Nothing is open that should be shut.",
    Level.INTERMEDIATE: "Fit for production: it holds under load, failure and mistakes.",
    Level.ADVANCED: "It holds against those inside, and what it did can be proven.",
}
MARKS = {
    Status.PASSED: "✓",
    Status.FAILED: "✗",
    Status.WAIVED: "◐",
    Status.NOT_APPLICABLE: "·",
    Status.UNKNOWN: "?",
}
# what needs somebody stands first
ORDER = (Status.FAILED, Status.UNKNOWN, Status.WAIVED, Status.PASSED, Status.NOT_APPLICABLE)


def page(report: Report, base: str = ".") -> str:
    """Return the page.

    Args:
        report: what it shows.
        base: the way from the page to the folder in which docs/ is.
    """
    return "\n".join([*_page(report, base), ""])


def _page(report: Report, base: str) -> Iterator[str]:
    title = f"Posture of {escape(report.service)}"
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield f'<head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    # the page can load and run nothing, even where what is shown in it says otherwise
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<style>{STYLE}</style></head>"
    yield "<body><main>"
    yield f"<header><h1>{title}</h1>"
    yield f"<p>{escape(report.looked_at)} · {escape(report.when)}</p>"
    yield f'<p class="grade">Grade reached: <strong>{_grade(report)}</strong></p></header>'
    yield ladder(report)
    yield from _counts(report)
    yield from _next(report, base)
    for level in Level:
        yield from _level(report, level, base)
    yield from _waivers(report)
    yield "</main></body></html>"


def _grade(report: Report) -> str:
    return "none" if report.grade is None else report.grade.value


def _counts(report: Report) -> Iterator[str]:
    yield '<table class="counts"><caption>What came of the checks</caption><thead><tr><th scope="col">rung</th>'
    yield "".join(f'<th scope="col">{_badge(status)}</th>' for status in ORDER) + "</tr></thead><tbody>"
    for level in Level:
        counts = report.counts(level)
        cells = "".join(f"<td>{counts[status]}</td>" for status in ORDER)
        yield f'<tr><th scope="row">{level.value}</th>{cells}</tr>'
    yield "</tbody></table>"


def _next(report: Report, base: str) -> Iterator[str]:
    yield "<section><h2>What to do next</h2>"
    if not report.next_steps:
        yield "<p>Nothing is left to do.</p></section>"
        return
    yield "<ol>"
    for result in report.next_steps:
        title, remedy = escape(result.check.title), escape(result.check.remedy)
        yield f"<li><strong>{title}</strong>: {remedy} {_link(result, base)}</li>"
    yield "</ol></section>"


def _level(report: Report, level: Level, base: str) -> Iterator[str]:
    yield f'<section><h2>{level.value.capitalize()}</h2><p class="meaning">{MEANING[level]}</p>'
    yield '<table class="checks"><thead><tr><th scope="col">result</th><th scope="col">what should be so, and why</th>'
    yield '<th scope="col">what was seen</th></tr></thead><tbody>'
    for result in sorted(report.of(level), key=lambda each: ORDER.index(each.status)):
        yield from _row(result, base)
    yield "</tbody></table></section>"


def _row(result: Result, base: str) -> Iterator[str]:
    check = result.check
    yield f'<tr id="{check.id}"><td>{_badge(result.status)}</td>'
    yield f'<th scope="row">{escape(check.title)}<br><code>{check.id}</code><p>{escape(check.why)}</p></th>'
    yield f"<td>{escape(result.said)}<p>Proven by: {escape(check.proof)}. {_link(result, base)}</p>"
    if result.waiver is not None:
        yield f"<p><strong>Waived until {result.waiver.until}</strong>: {escape(result.waiver.reason)}</p>"
    if result.status is not Status.PASSED and result.status is not Status.NOT_APPLICABLE:
        yield f'<p class="remedy"><strong>Remedy</strong>: {escape(check.remedy)}</p>'
    yield "</td></tr>"


def _waivers(report: Report) -> Iterator[str]:
    waived = [result for result in report.results if result.waiver is not None]
    if not waived:
        return
    yield "<section><h2>Exceptions</h2><table><thead><tr>"
    yield '<th scope="col">check</th><th scope="col">until</th><th scope="col">reason</th></tr></thead><tbody>'
    for result in waived:
        if result.waiver is not None:
            until, reason = result.waiver.until, escape(result.waiver.reason)
            yield f'<tr><th scope="row"><code>{result.check.id}</code></th><td>{until}</td><td>{reason}</td></tr>'
    yield "</tbody></table></section>"


def _badge(status: Status) -> str:
    kind = status.value.replace(" ", "-")
    return f'<span class="badge {kind}"><span aria-hidden="true">{MARKS[status]}</span> {status.value}</span>'


def _link(result: Result, base: str) -> str:
    return f'<a href="{escape(base)}/{result.check.docs}">{result.check.docs}</a>'
