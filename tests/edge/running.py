"""The edge as it is shipped, in front of a service: Envoy with what `edge build` makes, on free ports of loopback."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.exports.meshes import binary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EDGE = Path(__file__).parent
SECONDS = 30.0
PAUSE_SECONDS = 0.02

Json = dict[str, Any]
Change = "Callable[[Json], object]"


class _Socket(http.client.HTTPConnection):
    """HTTP by a socket in a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


class Edge:
    """Envoy, in a process of its own.

    Args:
        environment: where it is installed.
        service: the folder of a service that is set up; Envoy runs there.
        folder: for its files.
        values: of this edge, over those of `dev`.
        change: what else is changed in the configuration, for a test of what else is in it.

    """

    def __init__(
        self,
        environment: Path,
        service: Path,
        folder: Path,
        values: Mapping[str, Any],
        change: Callable[[Json], object] = lambda _: None,
    ) -> None:
        folder.mkdir()
        self.folder, self.service = folder, service
        self.configuration = build(service, folder, values)
        change(self.configuration)
        (folder / "envoy.yaml").write_text(yaml.safe_dump(self.configuration, sort_keys=False), encoding="utf-8")
        self._log, self._admin = folder / "envoy.log", Path(self.configuration["admin"]["address"]["pipe"]["path"])
        with self._log.open("wb") as log, (folder / "access.log").open("wb") as access:
            self._process = subprocess.Popen(
                command(environment, folder / "envoy.yaml"), cwd=service, stdout=access, stderr=log
            )
        try:
            self._until(lambda: self._admin.exists() and "LIVE" in self.admin("/ready"))
            ports = {each["name"]: each["local_address"] for each in self._listeners()}
            self.port: int = ports["edge"]["socket_address"]["port_value"]
            self.probes: int = ports["probes"]["socket_address"]["port_value"]
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def ready(self) -> Edge:
        """Wait until it has found the service well."""
        self._until(lambda: self.probe("/readyz") == http.client.OK)
        return self

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(SECONDS)

    def admin(self, path: str) -> str:
        """Return what Envoy itself says."""
        connection = _Socket(self._admin)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()

    def probe(self, path: str, verb: str = "GET") -> int:
        """Return the status of a path, where probes are answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.probes, timeout=SECONDS)
        try:
            connection.request(verb, path)
            return connection.getresponse().status
        finally:
            connection.close()

    def logged(self, **wanted: object) -> Json:
        """Return the first line of its access log that has these."""
        found: list[Json] = []

        def look() -> bool:
            lines, _, _ = (self.folder / "access.log").read_text(encoding="utf-8").rpartition("\n")
            found[:] = [line for line in map(json.loads, lines.splitlines()) if wanted.items() <= line.items()]
            return bool(found)

        self._until(look)
        return found[0]

    def said(self) -> str:
        """Return its own log."""
        return self._log.read_text(encoding="utf-8")

    def _listeners(self) -> list[Json]:
        statuses: list[Json] = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        return statuses

    def _until(self, found: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not found():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(PAUSE_SECONDS)


def command(environment: Path, file: Path) -> list[str | Path]:
    """Return how Envoy is started."""
    return [binary(environment), "-c", file, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]


def build(service: Path, folder: Path, values: Mapping[str, Any]) -> Json:
    """Have the service's own command build an edge's files into a folder, and return Envoy's configuration."""
    told = yaml.safe_load((service / "deploy" / "edge" / "values.yaml").read_text(encoding="utf-8"))
    usual = told["edges"]["dev"] | {
        "listen": "127.0.0.1:0",
        "probes": "127.0.0.1:0",
        "admin_socket": str(folder / "admin.sock"),
        "secrets_folder": str(folder),
    }
    told["edges"] = {"test": usual | dict(values)}
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    program = service / ".venv" / "bin" / "order-service"
    done = subprocess.run(
        [program, "edge", "build", "--values", file, "--edge", "test", "--out", folder],
        cwd=service,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    built: Json = yaml.safe_load((folder / "envoy.yaml").read_text(encoding="utf-8"))
    return built
