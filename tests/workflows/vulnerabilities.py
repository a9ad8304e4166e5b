"""A source of known weaknesses that answers as OSV does (`POST /v1/query`), and as npm's registry, on loopback."""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


NPM = "/-/npm/v1/security/advisories/bulk"


def weakness(name: str) -> dict[str, Any]:
    """Return what OSV says of a package of which every version is weak."""
    affected = {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}],
    }
    return {"id": "OSV-TEST-1", "summary": "planted", "details": "planted", "affected": [affected]}


def advisory(name: str) -> dict[str, Any]:
    """Return what npm's registry says of a package of which every version is weak."""
    return {
        "id": 1, "url": "https://example.org/1", "title": f"planted in {name}", "severity": "high",
        "vulnerable_versions": "*",
    }  # fmt: skip


@contextmanager
def source(*weak: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the address of a source that knows something against some packages, and the names it was asked for."""
    asked: set[str] = set()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(gzip.decompress(data) if self.headers["Content-Encoding"] == "gzip" else data)
            if self.path == NPM:
                answer = {name: [advisory(name)] for name in body if name in weak}
                asked.update(body)
            else:
                name = body["package"]["name"]
                answer = {"vulns": [weakness(name)]} if name in weak else {}
                asked.add(name)
            said = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
