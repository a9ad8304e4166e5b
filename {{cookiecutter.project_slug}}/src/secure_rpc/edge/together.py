"""Service, edge and provider of logins on one machine, for development: started together, ended together."""

from __future__ import annotations

import http.client
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from secure_rpc.configuration import ConfigurationError
from secure_rpc.edge.values import Edge, host_and_port

START_SECONDS = 60.0
END_SECONDS = 20.0  # longer than the service takes to let go of its calls
PAUSE_SECONDS = 0.1


class Ended(Exception):
    """Somebody wants it all to end."""


def run(programs: Mapping[str, Sequence[str]], edge: Edge, say: Callable[[str], object]) -> int:
    """Start programs, say where the edge is, and end them all when one ends or somebody asks for it.

    Args:
        programs: the command of each, by its name; ended in the opposite order.
        edge: that they make up.
        say: takes a line for people.

    Returns:
        the exit code: 0 where somebody has asked for the end.

    Raises:
        ConfigurationError: a program cannot be started.
    """
    started: dict[str, subprocess.Popen[bytes]] = {}
    before = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for name, command in programs.items():
            started[name] = _start(command)
        _wait_until_ready(started, edge)
        for line in places(edge):
            say(line)
        while (ended := _first_that_ended(started)) is None:
            time.sleep(PAUSE_SECONDS)
    except Ended:
        return 0
    else:
        say(f"{ended} has ended by itself, so all ends")
        return 1
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # asked once is enough: what is under way is the end
        _stop(started)
        for number, handler in before.items():
            signal.signal(number, handler)


def places(edge: Edge) -> list[str]:
    """Return what to open, for people."""
    url = f"https://localhost:{host_and_port(edge.listen)[1]}"
    page = [f"page      {url}/"] if edge.page_folder and (edge.page_folder / "index.html").is_file() else []
    return [
        *page,
        f"gRPC-Web  {url}/<package>.<Service>/<Method>",
        f"REST      {url}/v1/... (docs/edge.md)",
        f"probes    http://{edge.probes}/readyz and /metrics",
        f"The certificate is signed by {edge.authority.ca_file}. Ctrl-C ends all.",
    ]


def _end(_number: int, _frame: FrameType | None) -> None:
    raise Ended


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        # in groups of their own: Ctrl-C reaches this process alone, which ends them one after another
        return subprocess.Popen(command, process_group=0)  # noqa: S603  # commands of our own
    except OSError as error:
        raise ConfigurationError(f"{command[0]}: cannot be started ({error.strerror}); install it") from None


def _wait_until_ready(started: Mapping[str, subprocess.Popen[bytes]], edge: Edge) -> None:
    end = time.monotonic() + START_SECONDS
    while not _is_ready(edge):
        if (ended := _first_that_ended(started)) is not None:
            raise ConfigurationError(f"{ended} has ended at its start; what it printed says why")
        if time.monotonic() > end:
            raise ConfigurationError(f"the edge has found no service in {START_SECONDS:g} s; see what was printed")
        time.sleep(PAUSE_SECONDS)


def _is_ready(edge: Edge) -> bool:
    host, port = host_and_port(edge.probes)
    connection = http.client.HTTPConnection(host, port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _first_that_ended(started: Mapping[str, subprocess.Popen[bytes]]) -> str | None:
    return next((name for name, process in started.items() if process.poll() is not None), None)


def _stop(started: dict[str, subprocess.Popen[bytes]]) -> None:
    for process in reversed(started.values()):
        if process.poll() is None:
            process.terminate()
    end = time.monotonic() + END_SECONDS
    for process in started.values():
        try:
            process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
