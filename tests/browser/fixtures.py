"""What the tests of the page have in common: one generated service with its page, and starters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import npm
from tests.browser.driven import PROGRAM, Browser, missing
from tests.browser.world import World
from tests.exports import meshes
from tests.lacking import lacking
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Make


@pytest.fixture(scope="session")
def browser_program() -> Path:
    """Return what drives a browser, its packages installed as the lock has them."""
    if lacked := missing():
        lacking(f"{', '.join(lacked)} not found: no browser runs")
    return npm.installed(PROGRAM, ROOT / "build" / "browser")


@pytest.fixture(scope="session")
def page_folder(browser_program: Path, template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    """Return a service that was generated and set up, its page built."""
    assert browser_program.is_file()
    made = bake(tmp_path_factory.mktemp("service"), {}, template)
    done = make(made, "setup", "browser", "build/image.binpb")
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture(scope="session")
def page_envoy(page_folder: Path) -> Path:
    """Return where the Envoy is that the service's own lock names."""
    return meshes.installed(ROOT / "build" / "edge", page_folder / "requirements" / "edge.txt")


@pytest.fixture(scope="session")
def world(page_folder: Path, page_envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start all of it; it ends at the end."""
    started = World(page_folder, page_envoy, tmp_path_factory.mktemp("world"))
    yield started
    started.stop()


@pytest.fixture
def stern_world(page_folder: Path, page_envoy: Path, tmp_path: Path) -> Iterator[World]:
    """Start all of it with a service that extends no stream, and takes few calls."""
    changes: dict[str, dict[str, Any]] = {
        "sessions": {"refresh": False},
        "quotas": {"default": {"calls": 6, "period_seconds": 600}},
    }
    started = World(page_folder, page_envoy, tmp_path, changes)
    yield started
    started.stop()


@pytest.fixture
def new_browser(browser_program: Path, page_folder: Path, tmp_path: Path) -> Iterator[Callable[[], Browser]]:
    """Start browsers that know nothing of each other; all end at the end."""
    started: list[Browser] = []

    def start() -> Browser:
        folder = tmp_path / f"browser-{len(started)}"
        certificates = [page_folder / ".dev" / f"{name}.pem" for name in ("edge", "server")]
        started.append(Browser(browser_program, folder, certificates))
        return started[-1]

    yield start
    for browser in started:
        browser.stop()


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    return new_browser()
