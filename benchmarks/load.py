"""Load: h2load, pinned to the same calls for every server, with a client certificate."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.calls import FRAMED_REQUEST, FRAMED_RESPONSE_BYTES, PATH
from benchmarks.workspace import FOLDER, FailedError

if TYPE_CHECKING:
    from benchmarks.workspace import Workspace

CONNECTIONS = 4
CALLS_PER_CONNECTION = 16  # in flight
TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Ask:
    """The call that is made, and how it is answered."""

    token: str  # "" for none
    body: bytes = FRAMED_REQUEST
    response_bytes: int = FRAMED_RESPONSE_BYTES  # of the message, framed; 0 where the call is refused
    status: str = "OK"
    path: str = PATH
    scheme: str = "https"
    headers: tuple[str, ...] = ("content-type: application/grpc", "te: trailers")
    http1: bool = False

    @property
    def connections(self) -> int:
        """Return how many there are: of HTTP/1.1, one for each call that is in flight."""
        return CONNECTIONS * CALLS_PER_CONNECTION if self.http1 else CONNECTIONS


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client has done."""

    calls: int
    seconds: float
    client_cpu_seconds: float


def apply(workspace: Workspace, target: str, ask: Ask, calls: int, *further: str) -> Load:
    """Make calls, 64 in flight, each of them answered as it should be.

    Args:
        workspace: Has the client's certificate.
        target: "host:port".
        ask: What is called.
        calls: How many.
        further: Options of h2load.

    Raises:
        FailedError: Not every call was answered with the whole response, or not over TLS 1.3.

    """
    body = FOLDER / "request.bin"
    body.write_bytes(ask.body)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(workspace.shim),
        "CLIENT_CERTIFICATE": str(workspace.certificates / "client.pem"),
        "CLIENT_KEY": str(workspace.certificates / "client.key"),
    }
    at_once = CONNECTIONS * CALLS_PER_CONNECTION // ask.connections
    command = ["h2load", "-n", str(calls), "-c", str(ask.connections), "-m", str(at_once)]
    command += ["-d", str(body)] if ask.body else []  # a call without one is a GET
    for header in (*ask.headers, *([f"authorization: Bearer {ask.token}"] if ask.token else [])):
        command += ["-H", header]
    command += ["--h1"] if ask.http1 else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, *further, f"{ask.scheme}://{target}{ask.path}"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise FailedError(f"h2load failed:\n{done.stdout}{done.stderr}")
    _believe(done.stdout, calls, ask)
    return Load(
        calls=calls,
        seconds=_seconds(done.stdout),
        client_cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _believe(report: str, calls: int, ask: Ask) -> None:
    """Refuse a run in which a call went otherwise: h2load takes a refused one for a success, but it has no response."""
    succeeded = int(_find(r"(\d+) succeeded", report))
    data_bytes = int(_find(r"\((\d+)\) data", report))
    if succeeded != calls or data_bytes != calls * ask.response_bytes:
        raise FailedError(f"not all of {calls} calls were answered as they should be ({ask.status}):\n{report}")
    if ask.scheme == "https" and "TLSv1.3" not in report:
        raise FailedError(f"that was not TLS 1.3:\n{report}")


def _seconds(report: str) -> float:
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    number, name = re.fullmatch(r"([\d.]+)([a-z]+)", _find(r"finished in ([\d.]+[a-z]+),", report)).groups()  # type: ignore[union-attr]
    return float(number) * unit[name]


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise FailedError(f"h2load reports in a form that is not known here:\n{text}")
    return found[1]
