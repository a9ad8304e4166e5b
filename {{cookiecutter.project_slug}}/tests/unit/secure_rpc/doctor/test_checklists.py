"""Checklists and checks hold together: what a list names exists, and each check is on a list."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import typer

from secure_rpc.cli.main import build
from secure_rpc.doctor.catalogue import IDS
from secure_rpc.platform import Application

FOLDER = Path("checklists")
NAMES = ("pre-production.md", "production-readiness.md", "incident.md")
BOX = "| ☐ |"
ON_NO_LIST: dict[str, str] = {}  # a check, and why it is on none
USAGE: Any = typer.BadParameter.__base__  # click's own, or that of the copy which typer brings
WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Line(NamedTuple):
    """One line of a list."""

    name: str
    what: str
    why: str
    proof: str


def lines_of(name: str) -> Iterator[Line]:
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith(BOX):
            yield Line(name, *(cell.strip() for cell in line.removeprefix(BOX).strip(" |").split(" | ")))


LINES = [line for name in NAMES for line in lines_of(name)]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def ids_in(text: str) -> set[str]:
    return {word for word in quoted(text) if WORD.fullmatch(word)}


def options_of(command: Any, words: list[str]) -> None:
    """Follow a command line down to its last command, and have its options read; raises where one is none."""
    while hasattr(command, "commands"):
        assert words, f"{command.name} needs a command"
        assert words[0] in command.commands, words[0]
        command, words = command.commands[words[0]], words[1:]
    command.make_parser(click.Context(command)).parse_args(words)


def test_the_folder_has_these_lists() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(NAMES)
    assert len(LINES) > 50


@pytest.mark.parametrize("line", LINES, ids=[f"{line.name}: {line.what}" for line in LINES])
def test_a_line_has_a_reason_and_a_proof(line: Line) -> None:
    assert len(line.what) > len("x")
    assert len(line.why) > len("x")
    assert line.proof


@pytest.mark.parametrize("line", LINES, ids=[f"{line.name}: {line.what}" for line in LINES])
def test_a_check_that_a_line_names_exists(line: Line) -> None:
    assert ids_in(line.proof) <= IDS


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_a_list_names_exists(application: Application, name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    commands = [each.removeprefix("$SERVICE ") for each in quoted(text) if each.startswith("$SERVICE ")]
    group: Any = typer.main.get_command(build(application.build_chain.__module__))
    assert commands
    for command in commands:
        options_of(group, shlex.split(command))
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {each.split()[1] for each in quoted(text) if each.startswith("make ")} <= targets


@pytest.mark.parametrize("words", ["doctr", "policy", "policy tset", "doctor --requires advanced"])
def test_a_command_that_does_not_exist_is_found(application: Application, words: str) -> None:
    group: Any = typer.main.get_command(build(application.build_chain.__module__))
    with pytest.raises((AssertionError, USAGE)):
        options_of(group, words.split())


def test_each_check_is_on_a_list_or_it_is_said_why_not() -> None:
    named = {check for line in LINES for check in ids_in(line.proof)}
    assert named & set(ON_NO_LIST) == set()
    assert named | set(ON_NO_LIST) == IDS
    assert all(ON_NO_LIST.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (FOLDER / name).read_text(encoding="utf-8")):
        assert (FOLDER / target).exists(), target
