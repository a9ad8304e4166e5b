"""The runbooks are complete: a page for each alert and procedure, of one form, whose names and links exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import click
import pytest
import typer

from secure_rpc.cli.main import build
from secure_rpc.drills.catalogue import DRILLS
from secure_rpc.platform import Application
from secure_rpc.telemetry.metrics import Metrics

from support.runbooks import (
    FOLDER,
    GENERAL,
    KINDS,
    PROCEDURES,
    SECTIONS,
    SHELL,
    Block,
    alerts,
    all_blocks,
    blocks,
    headings,
    is_seen,
    pages,
    prose_of,
    rules_of,
    text_of,
)

OF_SUPERVISOR = {"secure_rpc_workers", "secure_rpc_workers_ready", "secure_rpc_worker_restarts_total"}
OF_PROMETHEUS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
METRIC = re.compile(r"(?<![\w:])(?:secure_rpc|grpc_server|process)_[a-z0-9_]+(?![\w./:])")
RECORDED = re.compile(r"job:secure_rpc_\w+:bad_ratio_rate\w+")
# of Prometheus and of modules, not of the service
NO_METRICS = {"secure_rpc_"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELL_BLOCKS = [block for block in all_blocks() if block.kind.startswith("sh ")]
STEPS = {*alerts(), *PROCEDURES}


def test_each_alert_and_each_procedure_has_a_page_and_nothing_else_has() -> None:
    assert set(pages()) == {*alerts(), *PROCEDURES, *GENERAL}


@pytest.mark.parametrize("page", sorted(STEPS))
def test_a_page_has_its_sections_in_their_order(page: str) -> None:
    title, *rest = headings(page)
    assert title == (1, page)
    assert [text for depth, text in rest if depth == 2] == SECTIONS
    parts = re.split(r"(?m)^## .+$", text_of(page))[1:]
    assert all(part.strip() for part in parts), "a section is empty"
    for part in (parts[2], parts[3], parts[4]):  # diagnosis, mitigation, verify
        assert re.search(r"(?m)^1\. ", part), "steps are numbered"
    assert re.search(r"(?m)^ *```sh ", "".join(parts[2:5])), "there is a command"
    assert "README.md" in parts[5], "escalation leads to who owns what"


@pytest.mark.parametrize("alert", alerts())
def test_the_page_of_an_alert_says_what_its_rule_says(alert: str) -> None:
    rules = rules_of(alert)
    meaning = " ".join(text_of(alert).split("## Impact")[0].split())
    for rule in rules:
        labels = rule["labels"]
        assert isinstance(labels, dict)
        assert f"severity: {labels['severity']}" in meaning
        assert f"for: {rule['for']}" in meaning
    if len(rules) == 1:
        named = set(METRIC.findall(str(rules[0]["expr"])))
        assert {name.removesuffix("_bucket") for name in named} <= set(METRIC.findall(text_of(alert)))


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    for target in LINK.findall(prose_of(page)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        leads_to = (FOLDER / path) if path else FOLDER / f"{page}.md"
        assert leads_to.exists(), f"{page}: {target}"
        if anchor:
            known = re.findall(r"(?m)^#+ (.+)$", leads_to.read_text(encoding="utf-8"))
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in known}
            assert anchor in slugs, f"{page}: {target}"


def test_the_index_has_every_page_and_the_link_to_it() -> None:
    assert {target for target in LINK.findall(text_of("README")) if "/" not in target and "#" not in target} >= {
        f"{page}.md" for page in pages() if page != "README"
    }


def exposed() -> set[str]:
    ends = ("total", "count", "bucket", "sum")
    return {
        name
        for family in Metrics().registry.collect()
        for name in (family.name, *(f"{family.name}_{end}" for end in ends))
    } | OF_SUPERVISOR | OF_PROMETHEUS  # fmt: skip


def test_every_metric_is_one_that_there_is() -> None:
    known = exposed()
    recorded = RECORDED.findall((FOLDER.parent / "observability/rules.yaml").read_text(encoding="utf-8"))
    asked = {name for page in pages() for name in METRIC.findall(text_of(page))}
    assert asked - known - NO_METRICS == set()
    assert len(asked) > 30
    for page in pages():
        assert set(RECORDED.findall(text_of(page))) <= set(recorded)


@pytest.mark.parametrize("page", pages())
def test_blocks_are_marked_as_what_they_are(page: str) -> None:
    for block in blocks(page):
        assert block.kind in KINDS, f"{block.place}: {block.kind!r} is none of {sorted(KINDS)}"


def test_what_a_drill_runs_is_that_drills_page() -> None:
    told = {drill for block in all_blocks() for drill in block.drills}
    assert told <= set(DRILLS)
    assert set(DRILLS) - told == {"rotation", "federation"}, "drills without a runbook's commands"
    assert [block.place for block in all_blocks() if block.kind == "sh named" and not block.drills] == []


def test_every_command_of_the_service_has_these_options(application: Application) -> None:
    commands: Any = typer.main.get_command(build(application.build_chain.__module__))
    found = [(block.place, arguments) for block in SHELL_BLOCKS for arguments in block.own_commands()]
    assert len(found) > 150
    assert {place: told for place, arguments in found if (told := wrong_in(commands, arguments))} == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pki", "statsu"], "there is no statsu"),
        (["audit", "show", "--sicne", "2h"], "No such option"),
        (["audit", "show", "--since"], "requires an argument"),
        (["token"], "a command is missing"),
        (["call", "Check", "--as", "alice"], ""),
    ],
)
def test_a_command_that_there_is_not_is_found(application: Application, arguments: list[str], told: str) -> None:
    found = wrong_in(typer.main.get_command(build(application.build_chain.__module__)), arguments)
    assert (told in found) if told else not found


def wrong_in(commands: Any, arguments: list[str]) -> str:
    """Return what is wrong with the arguments of a command; empty where nothing is."""
    command, left = commands, arguments
    while hasattr(command, "commands"):
        if not left:
            return "a command is missing"
        if left[0] not in command.commands:
            return f"there is no {left[0]}"
        command, left = command.commands[left[0]], left[1:]
    try:
        command.make_parser(click.Context(command)).parse_args([each for each in left if each != "$@"])
    except Exception as error:  # noqa: BLE001  # typer brings a click of its own, whose errors are others
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=lambda block: block.place)
def test_a_block_is_shell(block: Block) -> None:
    bash = shutil.which("bash")
    assert bash, "bash is needed: the runbooks are for it"
    checked = subprocess.run([bash, "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, ""), block.place


def test_the_prepared_shell_is_shell() -> None:
    for shell in filter(None, map(shutil.which, ("bash", "zsh"))):
        checked = subprocess.run([shell, "-n", str(SHELL)], text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("expected", "output", "missing"),
    [
        ("a ... c\n", "x\na b c\n", ""),
        ("one\ntwo\n", "two\none\n", "two"),
        ("ready\n", "", "ready"),
        ("a.c\n", "abc\n", "a.c"),
    ],
)
def test_what_is_seen_is_held_against_what_the_page_says(expected: str, output: str, missing: str) -> None:
    assert is_seen(expected, output) == missing
