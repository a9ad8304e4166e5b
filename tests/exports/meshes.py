"""The real Envoy, and what else knows the rules of meshes; installed from the lock into an environment of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tools.bake import ROOT

LOCK = ROOT / "requirements" / "meshes.txt"
SECONDS = 30.0
PAUSE_SECONDS = 0.02

Json = dict[str, Any]


def installed(folder: Path, lock: Path = LOCK) -> Path:
    """Return an environment with what a lock has.

    Raises:
        CalledProcessError: it cannot be installed.

    """
    done = folder / "installed.txt"
    if not done.is_file() or done.read_bytes() != lock.read_bytes():
        uv = shutil.which("uv", path=Path(sys.executable).parent) or "uv"
        subprocess.run([uv, "venv", "-q", "--allow-existing", "-p", sys.executable, folder], check=True)
        python = folder / "bin" / "python"
        subprocess.run([uv, "pip", "sync", "-q", "--require-hashes", "--python", python, lock], check=True)
        shutil.copy(lock, done)
    return folder


def bootstrap(exported: Json, folder: Path) -> Json:
    """Return a whole configuration: mTLS, what was exported, and behind it what says that a call has passed."""
    files = {name: {"filename": str(folder / name)} for name in ("server.pem", "server.key", "ca.pem")}
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": files["server.pem"], "private_key": files["server.key"]}],
            "validation_context": {"trusted_ca": files["ca.pem"]},
        },
    }
    router = "envoy.filters.http.router"
    passed = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "passed"}}}
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    manager = {
        "@type": f"type.googleapis.com/{kind}",
        "stat_prefix": "calls",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [passed]}]},
        "http_filters": [
            *exported["http_filters"],
            {
                "name": router,
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    listener = {
        "name": "calls",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            }
        ],
    }
    strict = {"envoy.features.fail_on_any_deprecated_feature": True}
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "layered_runtime": {"layers": [{"name": "strict", "static_layer": strict}]},
        "static_resources": {"listeners": [listener], "clusters": exported.get("clusters", [])},
    }


class Envoy:
    """Envoy, in a process of its own, on free ports of loopback.

    Args:
        environment: where it is installed.
        configuration: the whole of it.
        folder: for its files.

    """

    def __init__(self, environment: Path, configuration: Json, folder: Path) -> None:
        file, self._log, address = (folder / name for name in ("envoy.json", "envoy.log", "admin.txt"))
        file.write_text(json.dumps(configuration), encoding="utf-8")
        command: list[str | Path] = [
            binary(environment),
            "-c",
            file,
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "warning",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--admin-address-path", address], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._admin = self._until(lambda: address.read_text(encoding="utf-8") if address.is_file() else "")
            self.port: int = self._until(self._listening)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(SECONDS)

    def _listening(self) -> int:
        if "LIVE" not in self._get("/ready"):
            return 0
        (listener,) = json.loads(self._get("/listeners?format=json"))["listener_statuses"]
        port: int = listener["local_address"]["socket_address"]["port_value"]
        return port

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://{self._admin}{path}", timeout=SECONDS) as response:
                return str(response.read().decode())
        except OSError:
            return ""

    def _until(self, found: Any) -> Any:
        end = time.monotonic() + SECONDS
        while not (what := found()):
            said = self._log.read_text(encoding="utf-8")
            assert self._process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(PAUSE_SECONDS)
        return what


def binary(environment: Path) -> Path:
    """Return where Envoy is."""
    (found,) = environment.glob("lib/python*/site-packages/envoy/_bin/envoy")
    return found


def validated(environment: Path, configuration: Json, folder: Path, home: Path | None = None) -> str:
    """Return what Envoy has against a configuration, "" where it has nothing.

    Args:
        environment: where it is installed.
        configuration: the whole of it.
        folder: for its files.
        home: where paths begin that are not absolute.

    """
    file = folder / "validated.json"
    file.write_text(json.dumps(configuration), encoding="utf-8")
    command: list[str | Path] = [binary(environment), "--mode", "validate", "-c", file, "--disable-hot-restart"]
    done = subprocess.run(command, cwd=home, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr
