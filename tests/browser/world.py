"""Everything that a page needs: a service, its edge, and a provider to log in at; each can be stopped and started."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from tests.edge.running import Edge
from tests.foreign.running import SECONDS, Running
from tests.oidc.service import DEVELOPMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Json = dict[str, Any]

TOKEN_SECONDS = 6  # so short that a test sees several


def free_ports(count: int) -> list[int]:
    """Return ports of loopback where nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class World:
    """A service that was generated, set up and whose page was built; and all that stands before it.

    Args:
        service: its folder.
        envoy: where Envoy is installed.
        into: a folder for what they need.
        settings: changes to those of the service, by the names of their parts.

    """

    def __init__(self, service: Path, envoy: Path, into: Path, settings: Mapping[str, Json] | None = None) -> None:
        self.folder, self._environment, self._into = service, envoy, into
        self._edge_port, provider_port = free_ports(2)
        self.url, self.issuer = (f"https://localhost:{port}" for port in (self._edge_port, provider_port))
        page = into / "page"
        shutil.copytree(service / "browser" / "dist", page)
        known = json.loads((page / "settings.json").read_text(encoding="utf-8")) | {"issuer": self.issuer}
        (page / "settings.json").write_text(json.dumps(known), encoding="utf-8")
        self._edges = 0
        self.audit_file = into / "audit.log"
        told = self._settings("service", settings or {})
        self._service = Running(service, "order-service", {"SECURE_RPC_CONFIG": str(told)})
        with ExitStack() as started:  # what was, where something else cannot be
            started.callback(self._stop_service)
            self._start_provider()
            started.callback(self._stop_provider)
            self._start_edge()
            started.callback(lambda: self._edge.stop())  # noqa: PLW0108  # the one of then
            self._started = started.pop_all()

    @contextmanager
    def edge_away(self) -> Iterator[None]:
        """End Envoy, and with it every connection of the page; it is back afterwards, at the same port."""
        self._edge.stop()
        try:
            yield
        finally:
            self._start_edge()

    @contextmanager
    def provider_away(self) -> Iterator[None]:
        """End the provider; it is back afterwards, and knows of no login."""
        self._stop_provider()
        try:
            yield
        finally:
            self._start_provider()

    def records(self, **wanted: str) -> list[Json]:
        """Return the audit records that have these."""
        lines, _, _ = self.audit_file.read_text(encoding="utf-8").rpartition("\n")  # the last may be half written
        return [record for record in map(json.loads, lines.splitlines()) if wanted.items() <= record.items()]

    def stop(self) -> None:
        """End all of it."""
        self._started.close()

    def _stop_service(self) -> None:
        assert self._service.stop() == 0

    def _settings(self, name: str, changes: Mapping[str, Json]) -> Path:
        settings = yaml.safe_load((self.folder / "config" / "dev.yaml").read_text(encoding="utf-8"))
        settings["authentication"]["issuers"][0]["leeway_seconds"] = 0  # a stream ends when its token does
        settings["audit"]["file"] = str(self.audit_file)
        settings["replay"]["file"] = str(self._into / "replay.db")
        for part, values in changes.items():
            settings[part] = settings.get(part, {}) | values
        path = self._into / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path

    def _start_edge(self) -> None:
        self._edges += 1
        values = {
            "settings": str(self._settings("edge", {})),  # an edge knows of all that a service may have
            "listen": f"127.0.0.1:{self._edge_port}",
            "service": f"127.0.0.1:{self._service.port}",
            "page_folder": str(self._into / "page"),
            "origins": [],
            "connect_to": [self.issuer],
            "keys": {DEVELOPMENT: {"jwks_url": f"{self.issuer}/jwks", "ca_file": ".dev/ca.pem"}},
        }
        self._edge = Edge(self._environment, self.folder, self._into / f"edge-{self._edges}", values).ready()

    def _start_provider(self) -> None:
        command = ["node", "browser/dev/provider.mjs", "--page", self.url, "--seconds", str(TOKEN_SECONDS)]
        command += ["--settings", str(self._into / "page" / "settings.json")]
        with (self._into / "provider.log").open("ab") as log:
            self._provider = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log)
        in_time = threading.Timer(SECONDS, self._provider.kill)
        in_time.start()
        said = self._provider.stdout.readline() if self._provider.stdout else b""
        in_time.cancel()
        assert said, (self._into / "provider.log").read_text(encoding="utf-8")

    def _stop_provider(self) -> None:
        self._provider.kill()
        self._provider.wait(SECONDS)
        if self._provider.stdout:
            self._provider.stdout.close()
