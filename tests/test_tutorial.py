"""The tutorial, followed as it is printed: in an empty folder, by nobody who knows more than it says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploying.tools import kubectl
from tests.tutorial.page import Step, UnknownBlockError, is_printed, steps
from tests.tutorial.terminals import Service, Terminal
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Git

PAGES = sorted((ROOT / "docs" / "tutorial").glob("[0-9]*.md"))
ADDRESS = "127.0.0.1:50051"  # where the tutorial's service listens; here it is a free port


@pytest.fixture(scope="module")
def address() -> str:
    """Return an address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, git: Git) -> Terminal:
    """Return a terminal in an empty folder, on a machine of somebody who has the address of this repository."""
    repository, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository / name)
    git("init", "-q", "-b", "main", cwd=repository)
    git("add", "-A", cwd=repository)
    git("commit", "-qm", "The template", cwd=repository)
    (home / "kubectl").symlink_to(kubectl())
    ours = {"ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "NAME", "OUT", "VIRTUAL_ENV"}
    someone = {
        f"GIT_{role}_{key}": "somebody@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ours},
        **someone,
        "PATH": os.pathsep.join([str(home), str(Path(sys.executable).parent), os.environ["PATH"]]),  # its uv
        "TEMPLATE": str(repository),
    }
    return Terminal(tmp_path_factory.mktemp("empty"), environment, home)


class Reader:
    """Somebody who does what the pages say."""

    def __init__(self, terminal: Terminal, address: str) -> None:
        self.terminal = terminal
        self.address = address
        self.service: Service | None = None
        self.seen = 0  # outputs that were as the page shows them

    def do(self, step: Step) -> None:
        """Do one thing, and see what the page says that one sees."""
        getattr(self, step.kind)(step)

    def elsewhere(self, step: Step) -> dict[str, str]:
        """Return what has the service listen, and its callers call, at the free port; nothing else is to know of it."""
        if "make run" not in step.text and "make call" not in step.text:
            return {}
        return {"SECURE_RPC_LISTEN__ADDRESS": self.address, "SECURE_RPC_LISTEN__ADMIN_ADDRESS": "127.0.0.1:0"}

    def type(self, step: Step) -> None:
        done = self.terminal.type(step.text, self.elsewhere(step))
        printed = done.stdout.replace(self.address, ADDRESS)
        told = f"{step.place}\n{step.text}printed, and ended with {done.returncode}:\n{printed}"
        if self.service is not None:
            told += f"\nthe service printed:\n{self.service.printed}"
        assert step.output is None or is_printed(step.output, printed), f"{told}\nthe page shows:\n{step.output}"
        self.seen += step.output is not None
        # a command that fails is shown with what make says of that
        assert bool(done.returncode) == ("make: *** " in (step.output or "")), told

    def start(self, step: Step) -> None:
        assert (self.service is not None) == step.ends_other, f"{step.place}: something else runs there"
        if self.service is not None:
            self.service.interrupt()
        self.service = Service(step.text, self.terminal.folder, {**self.terminal.environment, **self.elsewhere(step)})
        assert self.service.serves(), f"{step.place}\n{self.service.printed}"

    def patch(self, step: Step) -> None:
        subprocess.run(["git", "apply"], cwd=self.terminal.folder, check=True, input=step.text, text=True)

    def write(self, step: Step) -> None:
        path = Path(self.terminal.folder, step.path)
        assert not path.exists(), f"{step.place}: {path} is there"
        path.write_text(step.text, encoding="utf-8")


@pytest.fixture(scope="module")
def reader(terminal: Terminal, address: str) -> Iterator[Reader]:
    """Return a reader; what they started is ended when they are through."""
    started = Reader(terminal, address)
    yield started
    if started.service is not None:
        started.service.interrupt()


@pytest.mark.alone
@pytest.mark.slow
def test_who_does_what_the_tutorial_says_sees_what_it_says(reader: Reader) -> None:
    done: Counter[str] = Counter()
    for page in PAGES:
        for step in steps(page):
            reader.do(step)
            done[page.name] += 1
    assert sorted(done) == [page.name for page in PAGES]
    assert reader.seen > len(PAGES), "the pages show what is printed"


def test_the_pages_are_linked_one_to_the_next() -> None:
    assert len(PAGES) > 2
    index = (ROOT / "docs" / "tutorial" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\d[\w-]+\.md)\)", index) == [page.name for page in PAGES]
    for page, following in pairwise(PAGES):
        assert page.read_text(encoding="utf-8").count(f"]({following.name})") == 1, page


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("one\n", "one\n", True),
        ("one\n", "one\ntwo\n", False),
        ("one\n", "one…\n", False),
        ("...\ntwo\n", "one\none\ntwo\n", True),
        ("...\ntwo\n", "two\n", True),
        ("...\ntwo\n", "one\n", False),
        ("id: …\n", "id: 17\n", True),
        ("id: …, …\n", "id: 17\n", False),
    ],
)
def test_a_page_that_shows_something_else_is_told(shown: str, printed: str, same: bool) -> None:  # noqa: FBT001  # a case
    assert is_printed(shown, printed) is same


@pytest.mark.parametrize("block", ["```yaml\na: 1\n```", "```text\nprinted by nobody\n```"])
def test_a_block_that_is_for_nothing_is_told(tmp_path: Path, block: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Look:\n\n{block}\n", encoding="utf-8")
    with pytest.raises(UnknownBlockError):
        list(steps(page))
