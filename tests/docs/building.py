"""What the tests of the documentation have in common: its tools from their locks, and the site, built once."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests import npm
from tests.browser.driven import PROGRAM, Browser, missing
from tests.docs.built import Site
from tests.exports.meshes import installed
from tests.lacking import lacking
from tools.bake import ROOT
from tools.docs_site import build, diagrams
from tools.docs_site.places import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def docs_tools() -> Path:
    """Install what draws diagrams and what makes HTML, as the locks have them; return what draws."""
    if lacked := missing():
        lacking(f"{', '.join(lacked)} not found: no diagram is drawn")
    installed(build.MKDOCS.parent.parent, ROOT / "requirements" / "docs.txt")
    return npm.installed(build.HERE / diagrams.PROGRAM, build.PROGRAM.parent)


@pytest.fixture(scope="session")
def docs_site(docs_tools: Path) -> Site:
    """Return the site, built by the program that make runs."""
    assert docs_tools.is_file()
    command = [sys.executable, "-B", "-m", "tools.docs_site.build"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(SITE)


@pytest.fixture
def docs_served() -> Iterator[str]:
    """Serve the site on loopback, and return its address."""
    handler = partial(_Quiet, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def docs_browser(tmp_path: Path) -> Iterator[Browser]:
    """Return a browser that has no network to reach."""
    started = Browser(npm.installed(PROGRAM, ROOT / "build" / "browser"), tmp_path / "browser", [])
    yield started
    started.stop()
