"""What is common to clients that share no code with a service."""

from __future__ import annotations

import json
import os
import subprocess
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

Json: TypeAlias = dict[str, Any]

SECONDS = 30.0


@dataclass(frozen=True)
class Call:
    """A call to be made."""

    method: str
    requests: tuple[Json, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    raw: str | None = None  # in place of requests: what no client of the proto would send
    left_open: bool = False  # whether the stream of requests is not ended


@dataclass(frozen=True)
class Connection:
    """How a client connects."""

    certificate: bool = True
    newest_tls: str = "TLSv1.3"
    options: dict[str, int] = field(default_factory=dict)  # of grpc-js


USUAL = Connection()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: str  # "" where the client gave up by itself
    message: str = ""
    responses: list[Json] = field(default_factory=list)
    details: dict[str, Json] = field(default_factory=dict)  # by the names of their types
    correlation_id: str | None = None  # None where the client does not show trailers

    @property
    def reason(self) -> str:
        """Return `ErrorInfo.reason`."""
        return str(self.details.get("google.rpc.ErrorInfo", {}).get("reason", ""))


@dataclass(frozen=True)
class Place:
    """Where the service is, and what its callers need."""

    service: str  # the full name of its proto's
    port: int
    folder: Path

    def path(self, call: Call) -> str:
        """Return what HTTP calls the method."""
        return f"/{self.service}/{call.method}"

    def file(self, name: str) -> str:
        """Return one of the service's files."""
        return str(self.folder / name)


class Client(ABC):
    """A program that calls and says what came back.

    Args:
        place: where to.
        home: the only folder it may take for somebody's own.

    """

    def __init__(self, place: Place, home: Path) -> None:
        self.place = place
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home)}

    @abstractmethod
    def __call__(self, call: Call, connection: Connection = USUAL) -> Answer:
        """Make a call."""

    @abstractmethod
    def watch(self, call: Call) -> Generator[Json, None, None]:
        """Make a call that does not end, and yield the responses as they come."""

    def _run(self, command: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=given,
            env=self._environment,
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
        )

    @contextmanager
    def _output(self, command: list[str], given: str = "") -> Iterator[Iterator[Json]]:
        """Start a program and hand out its values; stop it afterwards."""
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment, encoding="utf-8"
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program has no pipes")
        try:
            with process.stdin as stdin:
                stdin.write(given)
            yield values(process.stdout)
        finally:
            process.terminate()
            process.stdout.close()
            process.wait(SECONDS)


def values(lines: Iterator[str]) -> Iterator[Json]:
    """Yield the JSON objects of an output; each ends with a line."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip().endswith("}"):
            try:
                value = json.loads(text)
            except json.JSONDecodeError:
                continue
            yield value
            text = ""
    assert not text.strip(), text
