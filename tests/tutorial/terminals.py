"""Two terminals: one in which commands are typed one after another, one in which something runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 1200.0  # no command of the tutorial may take longer
START_SECONDS = 300.0  # the first start sets everything up


class Terminal:
    """A shell that remembers where it is.

    Args:
        folder: where it begins.
        environment: what its programs see.
        home: a folder for its own notes.

    """

    def __init__(self, folder: Path, environment: Mapping[str, str], home: Path) -> None:
        self.folder = str(folder)
        self.environment = environment
        self._where = home / "where"

    def type(self, commands: str, further: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run commands, and return how the last one ended and what all of them printed.

        Args:
            commands: what is typed.
            further: more of the environment, for these alone.

        """
        script = f"{commands}\nended=$?; pwd > '{self._where}'; exit $ended"
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder, env={**self.environment, **further}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", process_group=0,
        )  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed = f"{process.communicate()[0]}\nended after {SECONDS} s"
        self.folder = self._where.read_text(encoding="utf-8").strip()
        return subprocess.CompletedProcess([commands], process.returncode, printed)


class Service:
    """What runs on in the second terminal.

    Args:
        commands: what is typed there.
        folder: where.
        environment: what its programs see.

    """

    def __init__(self, commands: str, folder: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", commands],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", process_group=0,
        )  # fmt: skip
        self._lines: list[str] = []
        self._serves = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def printed(self) -> str:
        """Return what it has printed."""
        return "".join(self._lines)

    def serves(self) -> bool:
        """Wait until it says that it serves; tell whether it does."""
        return self._serves.wait(START_SECONDS) and self._process.poll() is None

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            code = self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
        self._reader.join(START_SECONDS)
        return code

    def _read(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines:
                for line in lines:
                    self._lines.append(line)
                    if " serving " in line:
                        self._serves.set()
        self._serves.set()
