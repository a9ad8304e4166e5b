"""The controls hold together: all that they name exists, nothing is left without one, and the page is what is built."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from secure_rpc.controls.catalogue import AREAS, CONTROLS
from secure_rpc.controls.control import Control
from secure_rpc.controls.page import WIDTH, built
from secure_rpc.doctor.catalogue import IDS
from secure_rpc.drills.catalogue import DRILLS

from support.runbooks import GENERAL, PROCEDURES, alerts, pages

CODE = Path("src/secure_rpc")
DOCS = Path("docs")
KINDS = {"Counter", "DurationHistogram", "Gauge", "Histogram", "_sum_of"}  # what declares a number
# what no control names, and why it need not
OF_NO_CONTROL: dict[str, str] = {"README": "it leads to the other pages"}
EACH = pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the functions that a file of tests defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def declared() -> frozenset[str]:
    """Return the numbers that the code declares, as they are served."""
    found = set()
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            name = node.args[0]
            if node.func.id in KINDS and isinstance(name, ast.Constant):
                found.add(f"{name.value!s}_total" if node.func.id == "Counter" else str(name.value))
    return frozenset(found)


def problems(control: Control) -> list[str]:
    """Return what a control names and there is not."""
    found = [f"no such path: {path}" for path in control.code if not Path(path).exists()]
    for test in control.tests:
        path, _, name = test.partition("::")
        if not Path(path).is_file() or name not in functions_of(Path(path)):
            found.append(f"no such test: {test}")
    for what, named, there in (
        ("number", control.metrics, declared()),
        ("alert", control.alerts, set(alerts())),
        ("runbook", control.runbooks, set(pages())),
        ("drill", control.drills, set(DRILLS)),
        ("check", control.checks, IDS),
    ):
        found += [f"no such {what}: {name}" for name in named if name not in there]
    if not control.tests and not control.template_tests:
        found.append("no test")
    if not control.metrics and not control.alerts and not control.note:
        found.append("nothing counts it, and no note says why")
    return found


@EACH
def test_all_that_a_control_names_exists(control: Control) -> None:
    assert problems(control) == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (Control("Z1", "", "", ("src/gone.py",), tests=CONTROLS[0].tests, note="."), "no such path: src/gone.py"),
        (
            Control("Z1", "", "", (), tests=("tests/gone.py::test_it",), note="."),
            "no such test: tests/gone.py::test_it",
        ),
        (Control("Z1", "", "", (), tests=(f"{CONTROLS[0].tests[0]}_gone",), note="."), "_gone"),
        (Control("Z1", "", "", (), tests=CONTROLS[0].tests, metrics=("secure_rpc_refusals",)), "no such number"),
        (Control("Z1", "", "", (), tests=CONTROLS[0].tests, alerts=("Gone",)), "no such alert: Gone"),
        (Control("Z1", "", "", (), tests=CONTROLS[0].tests, note=".", runbooks=("gone",)), "no such runbook: gone"),
        (Control("Z1", "", "", (), tests=CONTROLS[0].tests, note=".", drills=("gone",)), "no such drill: gone"),
        (Control("Z1", "", "", (), tests=CONTROLS[0].tests, note=".", checks=("gone",)), "no such check: gone"),
        (Control("Z1", "", "", (), note="."), "no test"),
        (Control("Z1", "", "", (), tests=CONTROLS[0].tests), "nothing counts it"),
    ],
)
def test_what_there_is_not_is_found(wrong: Control, problem: str) -> None:
    (found,) = problems(wrong)
    assert problem in found


def test_each_control_has_an_id_of_its_own_by_its_area() -> None:
    assert [name for name, times in Counter(control.id for control in CONTROLS).items() if times > 1] == []
    for letter, area in zip("ABCDEFGHI", AREAS, strict=True):
        assert all(re.fullmatch(rf"{letter}[1-9]\d?", control.id) for control in area.controls)
    for control in CONTROLS:
        assert control.title
        assert control.text.endswith(".")
        assert not control.note or control.note.endswith(".")
        for named in (control.code, control.tests, control.metrics, control.alerts, control.drills, control.checks):
            assert len(named) == len(set(named)), f"{control.id} names something twice"


def test_each_alert_drill_procedure_and_check_belongs_to_a_control() -> None:
    named = {
        name
        for control in CONTROLS
        for names in (control.alerts, control.runbooks, control.drills, control.checks)
        for name in names
    }
    # H3, drills as such, names them all: each has to show some other control, too
    shown = {drill for control in CONTROLS if control.id != "H3" for drill in control.drills}
    there = {*alerts(), *PROCEDURES, *GENERAL, *IDS}
    assert there - named == OF_NO_CONTROL.keys()
    assert set(DRILLS) - shown == set()


def test_each_number_of_ours_belongs_to_a_control() -> None:
    named = {metric for control in CONTROLS for metric in control.metrics}
    assert {name for name in declared() if name.startswith("secure_rpc_")} - named == {"secure_rpc_workers"}


def test_the_page_is_what_is_built() -> None:
    assert (DOCS / "controls.md").read_text(encoding="utf-8") == built(), "in the template: make controls"


def test_the_page_can_be_read_as_text() -> None:
    long = [
        line for line in built().splitlines() if len(line) > WIDTH and not re.fullmatch(r"(- [\w ]+:| ) ?\S+,?", line)
    ]
    assert long == []
