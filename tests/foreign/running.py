"""A generated service in a process of its own, and its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 30.0


class Running:
    """A service, started by its command on free ports.

    Args:
        folder: its own, set up.
        command: the name of its command.
        settings: further ones, as environment variables.

    """

    def __init__(self, folder: Path, command: str, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._command = folder / ".venv" / "bin" / command
        environment = {
            **os.environ,
            "SECURE_RPC_LISTEN__ADDRESS": "127.0.0.1:0",
            "SECURE_RPC_LISTEN__ADMIN_ADDRESS": "127.0.0.1:0",
            "SECURE_RPC_LOGGING__FORMAT": "json",
            "SECURE_RPC_LOAD__ADAPTIVE": "false",  # what is let in does not hang on how busy the machine is
            **settings,
        }
        self._process = subprocess.Popen(
            [self._command, "serve"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._lines: list[dict[str, Any]] = []
        self._coming: Queue[bytes] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.port = int(self.line(event="serving")["address"].rpartition(":")[2])
        except BaseException:
            self._process.kill()
            raise

    def line(self, **wanted: str) -> dict[str, Any]:
        """Return the first line of the log that has these, waiting for it if need be."""
        for line in self._lines:
            if wanted.items() <= line.items():
                return line
        try:
            while raw := self._coming.get(timeout=SECONDS):
                line = json.loads(raw) if raw.startswith(b"{") else {"text": raw.decode()}
                self._lines.append(line)
                if wanted.items() <= line.items():
                    return line
        except Empty:
            pass
        raise AssertionError(f"no line of the log has {wanted}: {self._lines}")

    def calls(self) -> list[dict[str, Any]]:
        """Return the lines of calls that were read so far."""
        return [line for line in self._lines if line.get("event") == "call"]

    def run(self, *arguments: str) -> str:
        """Return what a command of the service prints."""
        command = [str(self._command), *arguments]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def stop(self) -> int:
        """Stop it as an orchestrator does, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _read(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines:
                for line in lines:
                    self._coming.put(line)
        self._coming.put(b"")
