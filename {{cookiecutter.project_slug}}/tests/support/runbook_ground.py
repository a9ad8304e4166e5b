"""A service to try the runbooks on: a copy of the folder, with all that runbooks speak of switched on, and running."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from secure_rpc.configuration import read_yaml
from secure_rpc.platform import Application
from secure_rpc.settings import PREFIX
from secure_rpc.testing.service import merged

from support.processes import module_of
from support.runbooks import SHELL, Block, is_seen
from support.target import CALLERS

COPIED = ("config", "deploy", "docs", "observability", "policy", "runbooks")
PAGE_SECONDS = 150
START_SECONDS = 30
STRICT = "set -euo pipefail\n"
MARK = "=== the next block"


@dataclass(frozen=True, slots=True)
class Practice:
    """A folder with a service that runs, for commands as they are printed.

    Attributes:
        folder: where the commands are run.
        process: the supervisor's.
    """

    folder: Path
    process: subprocess.Popen[bytes]

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run commands in a shell that was prepared as README.md says; the first that fails ends it."""
        script = f"{STRICT}. {SHELL}\n{text}"
        bash = shutil.which("bash")
        if bash is None:
            raise RuntimeError("the runbooks' commands need bash on PATH")
        return subprocess.run(
            [bash, "-c", script],
            cwd=self.folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PAGE_SECONDS,
            check=False,
        )

    def follow(self, blocks: Sequence[Block]) -> None:
        """Run the blocks of a page, in one shell, as somebody would who follows it.

        Raises:
            AssertionError: a command failed, or something else is seen than the page says.
        """
        done = self.run("".join(f"echo {MARK}\nexec 2>&1\n{block.text}" for block in blocks))
        parts = done.stdout.split(f"{MARK}\n")[1:]
        for block, output in zip(blocks, parts, strict=False):
            told = f"{block.place}:\n{block.text}\n--- it says\n{output}"
            ended = done.returncode if output is parts[-1] else 0
            assert ended == 0, f"exit code {ended}\n{told}\n--- the service\n{self.log()[-3000:]}"
            missing = is_seen(block.seen, output)
            assert not missing, f"the page says {missing!r}\n{told}"
        assert len(parts) == len(blocks), f"the shell ended early: {done.stdout}{done.stderr}"

    def log(self) -> str:
        """Return what the service has logged."""
        return (self.folder / "build/service.log").read_text(encoding="utf-8", errors="replace")


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of a service and without what the shell would set."""
    own = {"CONFIG", "NAMESPACE", "PROMETHEUS"}
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name not in own}


@contextmanager
def practice(application: Application, folder: Path) -> Iterator[Practice]:
    """Start a service on a copy, and stop it in order.

    Args:
        application: the service.
        folder: an empty one, with a short path: a socket goes there.
    """
    _copy(folder)
    environment = {**clean_environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", module_of(application).partition(".")[0]]
    subprocess.run([*command, "pki", "init"], cwd=folder, env=environment, check=True)
    with (folder / "build/service.log").open("wb") as log:
        process = subprocess.Popen([*command, "serve"], cwd=folder, env=environment, stdout=log, stderr=log)
    made = Practice(folder, process)
    try:
        begun = made.run("for i in $(seq 100); do ready 2>/dev/null | grep -q true && exit 0; sleep 0.2; done; exit 1")
        assert begun.returncode == 0, made.log()
        yield made
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


def _copy(folder: Path) -> None:
    for name in COPIED:
        shutil.copytree(name, folder / name)
    shutil.copy("pyproject.toml", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "build").mkdir()
    (folder / ".dev").mkdir(mode=0o700)
    _checkpoint_key(folder / ".dev")
    (folder / "config/dev_callers.yaml").write_text(CALLERS, encoding="utf-8")  # alice is there, whoever else is not
    config = folder / "config/dev.yaml"
    data = read_yaml(config).data
    data.get("replay", {}).pop("file", None)  # the store remembers
    config.write_bytes(orjson.dumps(merged(data, _all_of_it())))  # JSON is YAML


def _all_of_it() -> dict[str, Any]:
    """Return the settings that differ from those of development."""
    return {
        "listen": {"address": _free(), "admin_address": _free()},
        "state": {"embedded": True, "folder": ".dev/state"},
        "audit": {"checkpoint_key_file": ".dev/checkpoint.pem"},
        "load": {"adaptive": False},  # a step fails by what it is about, not by the machine
        "workers": 2,
        "standby_worker": False,
    }


def _free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


def _checkpoint_key(folder: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "checkpoint.pem").write_bytes(private)
    (folder / "checkpoint.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
