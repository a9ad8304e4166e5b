"""What the pages on mistakes and on alternatives say is what the code and its tests say."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tools.bake import INNER, ROOT
from tools.docs_site.markdown import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TROUBLE, COMPARISON, BENCHMARKS = (
    ROOT / "docs" / f"{name}.md" for name in ("troubleshooting", "comparison", "benchmarks")
)
LINK = re.compile(r"\[`([^`]+)`\]\(\.\./" + re.escape(INNER) + r"/([^)#]+)\)")
COUNT = 20


@dataclass(frozen=True, slots=True)
class Mistake:
    """A section of the page.

    Attributes:
        title: its heading.
        symptoms: the lines that one sees.
        files: what it links to, and the test that it names there.

    """

    title: str
    symptoms: list[str]
    files: list[tuple[str, Path]]


def mistakes() -> list[Mistake]:
    """Return the sections of the page."""
    sections = re.split(r"^## ", TROUBLE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [
        Mistake(
            section.splitlines()[0],
            [line for block in blocks(section) for line in block.text.splitlines()],
            [(name, ROOT / INNER / path) for name, path in LINK.findall(section)],
        )
        for section in sections
    ]


def texts(file: Path) -> Iterator[str]:
    """Yield the texts of a module as they are when it runs; a NUL for each part that is not known before."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    yield from re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)


def stands_in(symptom: str, known: set[str]) -> bool:
    """Tell whether what is seen is made by these texts: whole, or status, reason and message each by itself."""
    if any(fits(symptom, text) for text in known):
        return True
    parts = re.fullmatch(r"([A-Z_]+) ([A-Z_]+): (.+)", symptom)
    return parts is not None and parts[2] in known and any(fits(parts[3], text) for text in known)


def fits(symptom: str, text: str) -> bool:
    """Tell whether a text has all that stands between the `…` of a symptom, in order."""
    pieces = [piece.strip() for piece in symptom.split("…") if piece.strip()]
    return re.search(".*".join(map(re.escape, pieces)), text, re.DOTALL) is not None


def test_there_are_twenty_each_with_its_symptom_and_what_holds_it() -> None:
    found = mistakes()
    assert [each.title.split(". ")[0] for each in found] == [str(number) for number in range(1, COUNT + 1)]
    for each in found:
        assert each.symptoms, each.title
        assert any("tests/" in path.as_posix() for _, path in each.files), each.title


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda mistake: mistake.title)
def test_what_is_quoted_stands_in_the_code_or_a_test_that_is_linked(mistake: Mistake) -> None:
    for name, path in mistake.files:
        assert path.is_file(), path
        if name.startswith("test_"):
            assert f"def {name}(" in path.read_text(encoding="utf-8"), name
    known = {text for _, path in mistake.files for text in texts(path)}
    assert [symptom for symptom in mistake.symptoms if not stands_in(symptom, known)] == []
    assert not stands_in("UNAUTHENTICATED NO_SUCH_REASON: and no such message", known)
    assert not stands_in("a text that stands nowhere", known)


def test_the_figures_of_the_comparison_are_those_of_the_benchmarks() -> None:
    measured = BENCHMARKS.read_text(encoding="utf-8")
    [unary] = re.findall(r"^## A unary call\n(.*?)^## ", measured, re.MULTILINE | re.DOTALL)
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|", unary, re.MULTILINE))
    ratios = dict(re.findall(r"^\| ([a-z ]+) \| \d+ \| [\d,]+ \| ([\d.]+)", unary, re.MULTILINE))
    page = " ".join(COMPARISON.read_text(encoding="utf-8").split())
    assert f"CPU time per call {rows['textbook']} µs" in page
    assert f"a generated service {rows['full chain']} µs" in page
    assert f"nothing else {rows['bare']} µs" in page
    assert f"That is {ratios['textbook']} and {ratios['full chain']} times the bare server" in page
    assert re.findall(r"(\d[\d,.]*) (?:µs|times)", page) == [
        rows["textbook"], rows["full chain"], rows["bare"], ratios["full chain"],
    ]  # fmt: skip
    [met] = re.findall(r"^\| 1 \| CPU time, full chain / bare \|.*\| (\S+) \|$", measured, re.MULTILINE)
    assert ("no dearer than the bare server: that is met" in page) == (met == "met")
