"""The real rsyslog, that takes messages by TLS on a free port of loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.observing.prometheus import free_port, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 30.0
CONFIGURATION = """\
global(
  workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}"
  defaultNetstreamDriverKeyFile="{key}"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="parts" type="string" string="%pri% %app-name% %msgid% %structured-data% %msg%\\n")
action(type="omfile" file="{folder}/received" template="parts")
"""


class Rsyslog:
    """A server of its own.

    Args:
        folder: for its files.
        certificate: its own, with its chain.
        key: of that.
        ca: the CA above.

    """

    def __init__(self, folder: Path, certificate: Path, key: Path, ca: Path) -> None:
        found = program("rsyslogd", packages="rsyslog rsyslog-gnutls", folders="/usr/sbin")
        folder.mkdir()
        self.port, self._received, said = free_port(), folder / "received", folder / "said.txt"
        text = CONFIGURATION.format(folder=folder, port=self.port, certificate=certificate, key=key, ca=ca)
        (folder / "rsyslog.conf").write_text(text, encoding="utf-8")
        command: list[str | Path] = [found, "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"]
        with said.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._until(self._listens, said)
        except BaseException:
            self.stop()
            raise

    def received(self, count: int) -> list[str]:
        """Return the messages, once there are so many."""
        self._until(lambda: len(self._lines()) >= count, self._received)
        return self._lines()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(SECONDS)

    def _lines(self) -> list[str]:
        text = self._received.read_text(encoding="utf-8") if self._received.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), SECONDS):
            return True
        return False

    def _until(self, condition: Callable[[], bool], told: Path) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            said = told.read_text(encoding="utf-8", errors="replace") if told.exists() else ""
            assert self._process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)
