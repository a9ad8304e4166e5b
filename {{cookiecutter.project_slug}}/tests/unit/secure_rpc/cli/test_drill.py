"""Drills are listed and run by name."""

from __future__ import annotations

from typer.testing import CliRunner

from secure_rpc.cli.main import build
from secure_rpc.drills.catalogue import DRILLS
from secure_rpc.platform import Application


def test_all_drills_are_listed(application: Application) -> None:
    listed = CliRunner().invoke(build(application.build_chain.__module__), ["drill", "list"]).stdout
    assert all(name in listed for name in DRILLS)


def test_an_unknown_drill_is_told_with_the_nearest(application: Application) -> None:
    answered = CliRunner().invoke(build(application.build_chain.__module__), ["drill", "run", "rotatoin"])
    assert answered.exit_code == 78
    assert 'there is no drill "rotatoin"; did you mean "rotation"?' in answered.output
