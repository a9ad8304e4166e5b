"""Each command of the runbooks that is for a service of this machine is run as it is printed, on one that runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_rpc.platform import Application

from support.runbook_ground import Practice, practice
from support.runbooks import blocks, pages

RUN = {page: [block for block in blocks(page) if block.is_run] for page in pages()}
DESTRUCTIVE = [page for page, found in RUN.items() if any("destructive" in block.kind for block in found)]
CALM = [page for page, found in RUN.items() if found and page not in DESTRUCTIVE]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as name:  # short: sockets are in it
        yield Path(name)


@pytest.fixture(scope="module")
def calm(application: Application) -> Iterator[Practice]:
    with (
        tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as name,
        practice(application, Path(name)) as running,
    ):
        yield running


@pytest.mark.parametrize("page", CALM)
def test_what_a_page_looks_at_can_be_seen(calm: Practice, page: str) -> None:
    calm.follow(RUN[page])


@pytest.mark.parametrize("page", DESTRUCTIVE)
def test_what_a_page_does_ends_as_it_says(application: Application, folder: Path, page: str) -> None:
    with practice(application, folder) as running:
        running.follow(RUN[page])


def test_commands_are_run_at_all() -> None:
    assert sum(map(len, RUN.values())) > 60
    assert len(DESTRUCTIVE) > 5
