"""Each command of the runbooks that changes something is run as it is printed, on a service for its page alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_rpc.platform import Application

from support.runbook_ground import practice
from support.runbooks import DESTRUCTIVE, RUN


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as name:  # short: sockets are in it
        yield Path(name)


@pytest.mark.parametrize("page", DESTRUCTIVE)
def test_what_a_page_does_ends_as_it_says(application: Application, folder: Path, page: str) -> None:
    with practice(application, folder) as running:
        running.follow(RUN[page])
