"""The threat model leaves no boundary and no kind of threat out, and leads to controls that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secure_rpc.controls.catalogue import CONTROLS

MODEL = Path("docs/threat-model.md")
PICTURE = Path("docs/threat-model.svg")
RESPONSIBILITIES = Path("docs/responsibilities.md")
STRIDE = set("STRIDE")
IDS = {control.id for control in CONTROLS}
LINK = re.compile(r"\[([A-I]\d+)\]\(controls\.md#(\w+)\)")
SECTION = re.compile(r"(?m)^## (\d+)\. (.+)$")
ROLES = ("service team", "platform team", "security", "SRE")


def boundaries(text: str) -> dict[str, list[list[str]]]:
    """Return the rows of each boundary, by its heading."""
    _, *parts = SECTION.split(text.partition("## When it changes")[0])
    return {
        heading: [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in part.splitlines()
            if re.match(r"\| [A-Z] \|", line)
        ]
        for heading, part in zip(parts[1::3], parts[2::3], strict=True)
    }


def problems(text: str) -> list[str]:
    """Return what a threat model leaves out, or names and there is not."""
    found = []
    for heading, rows in boundaries(text).items():
        letters = {row[0] for row in rows}
        found += [f"{heading}: nothing about {letter}" for letter in sorted(STRIDE - letters)]
        found += [f"{heading}: {letter} is no letter of STRIDE" for letter in sorted(letters - STRIDE)]
        for row in rows:
            if len(row) != 4 or not all(row):
                found.append(f"{heading}: a row is not whole: {row}")
            elif not LINK.search(row[2]):
                found.append(f"{heading}: no control against: {row[1]}")
    for id_, anchor in LINK.findall(text):
        if id_ not in IDS:
            found.append(f"no such control: {id_}")
        if anchor != id_.lower():
            found.append(f"{id_} leads to {anchor}")
    return found


def test_each_boundary_has_each_letter_and_each_control_exists() -> None:
    assert problems(MODEL.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("there", "instead", "problem"),
    [
        ("| R | a user says", "| S | a user says", "nothing about R"),
        ("| R | a user says", "| X | a user says", "X is no letter of STRIDE"),
        ("[B2](controls.md#b2)", "[B99](controls.md#b99)", "no such control: B99"),
        ("[B2](controls.md#b2)", "[B2](controls.md#b3)", "B2 leads to b3"),
        ("[D5](controls.md#d5), [D6](controls.md#d6)", "none", "no control against: errors tell"),
        ("| None known |", "| |", "a row is not whole"),
    ],
)
def test_what_is_wrong_is_found(there: str, instead: str, problem: str) -> None:
    text = MODEL.read_text(encoding="utf-8")
    assert there in text
    assert any(problem in found for found in problems(text.replace(there, instead, 1)))


def test_each_boundary_is_in_the_picture() -> None:
    numbers = SECTION.findall(MODEL.read_text(encoding="utf-8"))
    shown = re.findall(r'font-weight="bold" fill="#ffffff">(\d+)<', PICTURE.read_text(encoding="utf-8"))
    assert sorted(shown) == [number for number, _ in numbers] == [str(n + 1) for n in range(len(numbers))]


def test_each_control_of_the_service_is_good_against_something() -> None:
    named = {id_ for id_, _ in LINK.findall(MODEL.read_text(encoding="utf-8"))}
    # scenarios are told from end to end, of controls that stand before them
    assert sorted(id_ for id_ in IDS - named if not id_.startswith("I")) == []


def test_each_activity_is_somebodys() -> None:
    lines = RESPONSIBILITIES.read_text(encoding="utf-8").splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| activity |"))
    assert [cell.strip() for cell in lines[head].strip("|").split("|")][1:] == list(ROLES)
    rows = [line.removeprefix("| ").removesuffix("|").split("|") for line in lines[head + 2 :] if line.startswith("|")]
    assert len(rows) > 20
    for activity, *parts in rows:
        said = [part.strip() for part in parts]
        assert len(said) == len(ROLES), activity
        assert set(said) <= {"does", "agrees", "helps", "knows", ""}, activity
        assert "does" in said, f"nobody does: {activity}"


@pytest.mark.parametrize("page", [MODEL, RESPONSIBILITIES], ids=lambda page: page.name)
def test_links_lead_somewhere_and_lines_are_short(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    assert [line for line in text.splitlines() if len(line) > 125 and not line.startswith("|")] == []
    assert {id_ for id_, _ in LINK.findall(text)} <= IDS
