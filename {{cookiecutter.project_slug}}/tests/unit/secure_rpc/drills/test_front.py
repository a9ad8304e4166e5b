"""A drill with an edge says what it lacks, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from secure_rpc.cli.main import build
from secure_rpc.drills.catalogue import DRILLS
from secure_rpc.drills.front import missing
from secure_rpc.edge import installed, values
from secure_rpc.platform import Application


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with values of an edge, and nothing that is made or installed."""
    (tmp_path / values.FILE).parent.mkdir(parents=True)
    (tmp_path / values.FILE).write_text("version: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_envoy_or_the_descriptors_it_is_said_how_to_get_them(repository: Path) -> None:
    assert "`make drill` makes both" in missing()
    program = repository / installed.ENVIRONMENT / "lib/python3.11/site-packages/envoy/_bin/envoy"
    program.parent.mkdir(parents=True)
    program.touch()
    assert "build/image.binpb" in missing()
    (repository / "build/image.binpb").touch()
    assert missing() == ""


def test_a_service_without_an_edge_has_no_drills_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no edge" in missing()


@pytest.mark.usefixtures("repository")
def test_the_list_says_what_cannot_be_run_and_why(application: Application) -> None:
    listed = CliRunner().invoke(build(application.build_chain.__module__), ["drill", "list"]).output
    there = " ".join(listed.split())
    absent = [name for name, each in DRILLS.items() if each.missing()]
    assert absent == ["cors-failure", "proxy-buffer-full"]
    assert all(f"{name} cannot be run here: there is no Envoy" in there for name in absent)
    assert there.count("cannot be run here") == len(absent)
