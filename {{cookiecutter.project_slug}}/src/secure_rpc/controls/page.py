"""The page of all controls, `docs/controls.md`: built from the catalogue, never written by hand."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from secure_rpc.controls.catalogue import AREAS
from secure_rpc.controls.control import Area, Control

WIDTH = 125  # of a line; a link alone may be longer
INTRODUCTION = """\
# Controls

What the service does so that it can be trusted, and where to look: the code, the tests that fail without it, the
numbers, alerts, runbooks and drills that show it, and the checks of `doctor` that tell whether it is in force here.
What each is good against stands in the [threat model](threat-model.md); who does what, in
[responsibilities](responsibilities.md).

This page is built from `src/secure_rpc/controls/`. A test compares the two, and holds that all that is named
here exists. Tests of the template need what a service does not have at hand, such as Envoy, a browser or a provider of
logins; they are run before a version of the template is released. An alert leads to the runbook of its own name.
"""


def built() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(f"\n{part}\n" for area in AREAS for part in _of_area(area))


def _of_area(area: Area) -> Iterator[str]:
    letter = area.controls[0].id[0]
    yield f"## {letter}. {area.title}"
    yield area.text
    yield "\n".join(
        [
            "| id | control | tests | numbers | alerts | drills | checks |",
            "|---|---|---|---|---|---|---|",
            *map(_row, area.controls),
        ]
    )
    for control in area.controls:
        yield f"### {control.id}"
        yield _wrapped(f"**{control.title}.** {control.text}")
        yield "\n".join(_lines(control))


def _row(control: Control) -> str:
    parts = (
        (*control.tests, *control.template_tests),
        control.metrics,
        control.alerts,
        control.drills,
        control.checks,
    )
    counts = " | ".join(str(len(part) or "") for part in parts)
    return f"| [{control.id}](#{control.id.lower()}) | {control.title} | {counts} |".replace("|  ", "| ")


def _lines(control: Control) -> Iterator[str]:
    for name, items in (
        ("code", [_file(path) for path in control.code]),
        ("tests", list(map(_test, control.tests))),
        ("tests of the template", [f"`{test}`" for test in control.template_tests]),
        ("numbers", [f"`{metric}`" for metric in control.metrics]),
        ("alerts", [f"[{alert}](../runbooks/{alert}.md)" for alert in control.alerts]),
        ("runbooks", [f"[{page}](../runbooks/{page}.md)" for page in control.runbooks]),
        ("drills", [f"`{drill}`" for drill in control.drills]),
        ("checks of doctor", [f"`{check}`" for check in control.checks]),
    ):
        if items:
            yield from _listed(name, items)
    if control.note:
        yield _wrapped(f"- note: {control.note}", indent="  ")


def _listed(name: str, items: Iterable[str]) -> Iterator[str]:
    line = f"- {name}:"
    for number, item in enumerate(items):
        piece = item if number == 0 else f", {item}"
        if len(line) + len(piece) + 1 > WIDTH and not line.endswith(":"):
            yield f"{line},"
            line = f"  {item}"
        else:
            line += f" {piece}" if number == 0 else piece
    yield line


def _file(path: str) -> str:
    return f"[`{path.removeprefix('src/secure_rpc/')}`](../{path})"


def _test(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../{path})"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
