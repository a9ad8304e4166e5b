"""Services to look at: each is generated for real, from what git knows of the template."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter

from tools.bake import bake, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 1800.0  # no target of a service's make may take longer


class Git(Protocol):
    def __call__(self, *arguments: str, cwd: Path) -> str: ...


class Make(Protocol):
    def __call__(self, service: Path, *targets: str) -> subprocess.CompletedProcess[str]: ...


class Baked(Protocol):
    def __call__(self, **answers: str) -> Path: ...


class Refused(Protocol):
    def __call__(self, answers: Mapping[str, str]) -> str: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the pictures of the documentation drawn anew: `make docs-pictures`."""
    parser.addoption("--docs-pictures", action="store_true", help="write the pictures of dashboards to the template")


@pytest.fixture(scope="session")
def git() -> Git:
    """Run git without anybody's configuration, at a fixed time."""

    def run(*arguments: str, cwd: Path) -> str:
        someone = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in {"NAME": "t", "EMAIL": "t@example.org", "DATE": "2026-01-01T00:00:00Z"}.items()
        }
        environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", **someone}
        return subprocess.run(
            ["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.fixture(scope="session")
def make() -> Make:
    """Run a service's own make, as its team would, and return how it ended and what it printed."""
    # nothing of the make that runs this gets through; this repository's uv makes the service's environment in seconds
    ours = {"ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "NAME", "OUT", "PYTHON", "VIRTUAL_ENV"}
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ours},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(service: Path, *targets: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *targets]
        process = subprocess.Popen(
            command, cwd=service, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            process_group=0,
        )  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # all that it started, which would hold its output open
            printed = f"{process.communicate()[0]}\nended after {SECONDS} s"
        return subprocess.CompletedProcess(command, process.returncode, printed)

    return run


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the template."""
    return snapshot(tmp_path_factory.mktemp("template"))


@pytest.fixture
def baked(template: Path, tmp_path: Path) -> Baked:
    """Generate a service with these answers, defaults otherwise, each in a folder of its own."""
    made = 0

    def run(**answers: str) -> Path:
        nonlocal made
        made += 1
        return bake(tmp_path / f"out-{made}", answers, template)

    return run


@pytest.fixture(scope="session")
def service(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a service with the defaults; to be looked at, not to be changed."""
    return bake(tmp_path_factory.mktemp("service"), {}, template)


@pytest.fixture
def refused(
    template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Give answers to the generator itself, see them refused and nothing written, and return what was said."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"replay_dir: {tmp_path / 'replay'}\ncookiecutters_dir: {tmp_path / 'clones'}\n")
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    monkeypatch.setattr(logging.getLogger("cookiecutter"), "level", logging.CRITICAL)

    def run(answers: Mapping[str, str]) -> str:
        with pytest.raises(FailedHookException):
            cookiecutter(
                str(template), no_input=True, extra_context=dict(answers), output_dir=".", config_file=str(settings)
            )
        assert list(out.iterdir()) == []
        return capfd.readouterr().err

    return run
