"""The real Prometheus and Alertmanager, on free ports of loopback, and somebody who takes webhooks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import TYPE_CHECKING, Any

import yaml

from tests.lacking import lacking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

SECONDS = 40.0
PAUSE_SECONDS = 0.2


def program(*names: str, packages: str = "prometheus prometheus-alertmanager", folders: str = "") -> str:
    """Return the path of a program, by the first of its names that is installed; skips where none is.

    Args:
        names: of the program.
        packages: of Debian that it comes with.
        folders: that it may be in besides those on PATH.

    """
    path = os.pathsep.join((os.environ.get("PATH", ""), folders)).strip(os.pathsep)
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if found is None:
        lacking(f"{names[0]} is not installed: apt-get install {packages}")
    return found


def checked(*command: str | Path) -> str:
    """Return what a command prints, once it has ended well."""
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Tool:
    """A program that answers by HTTP.

    Args:
        folder: for its files.
        port: of its own.
        command: that starts it.

    """

    def __init__(self, folder: Path, port: int, *command: str | Path) -> None:
        self.port = port
        self._log = folder / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            self.until(lambda: self.get("/-/ready") is not None)
        except BaseException:
            self.stop()
            raise

    def get(self, path: str, **query: str) -> str | None:
        """Return what it answers, none where it does not."""
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=SECONDS) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            if error.code < 500:  # it is up, and says what is wrong
                raise AssertionError(error.read().decode()) from None
        except OSError:
            pass
        return None

    def until(self, found: Callable[[], Any]) -> Any:
        """Return what is found, as soon as it is."""
        end = time.monotonic() + SECONDS
        while not (what := found()):
            said = self._log.read_text(encoding="utf-8", errors="replace")
            assert self._process.poll() is None, said
            assert time.monotonic() < end, said[-3000:]
            time.sleep(PAUSE_SECONDS)
        return what

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(SECONDS)


class Prometheus(Tool):
    """Prometheus, that scrapes one service each second.

    Args:
        folder: for its files.
        job: what the service is called.
        admin_port: of the service.
        rules: a file of rules.
        alertmanager_port: where alerts go.

    """

    def __init__(self, folder: Path, job: str, admin_port: int, rules: Path, alertmanager_port: int = 0) -> None:
        folder.mkdir()
        managers = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}] * bool(alertmanager_port)
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": managers},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{admin_port}"]}]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        port = free_port()
        super().__init__(
            folder,
            port,
            program("prometheus"),
            "--config.file=prometheus.yaml",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        )

    def query(self, expression: str) -> list[Json]:
        """Return the series of an expression, as of now."""
        answer = json.loads(self.get("/api/v1/query", query=expression) or "{}")
        assert answer.get("status") == "success", (expression, answer)
        found: list[Json] = answer["data"]["result"]
        return found

    def query_range(self, expression: str, start: float, end: float, step_seconds: float) -> list[Json]:
        """Return the series of an expression, between two moments (Unix time)."""
        moments = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:g}"}
        answer = json.loads(self.get("/api/v1/query_range", query=expression, **moments) or "{}")
        assert answer.get("status") == "success", (expression, answer)
        found: list[Json] = answer["data"]["result"]
        return found


class Alertmanager(Tool):
    """Alertmanager with a configuration.

    Args:
        folder: for its files.
        configuration: the whole of it.

    """

    def __init__(self, folder: Path, configuration: Json) -> None:
        folder.mkdir()
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        port = free_port()
        super().__init__(
            folder,
            port,
            program("prometheus-alertmanager", "alertmanager"),
            "--config.file=alertmanager.yaml",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        )


class Webhook:
    """Somebody who is told of alerts."""

    def __init__(self) -> None:
        self.told: Queue[Json] = Queue()
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
