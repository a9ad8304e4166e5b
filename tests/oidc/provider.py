"""A certified OpenID provider in a process of its own, and what a test has it do."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OIDC = Path(__file__).parent
SECONDS = 30.0

SECRETS = {
    "orders": "s3cret:+/%2B=&",
    "clerk": "clerk",
    "alice": "alice",
    "gateway": "gateway",
    "checker": "checker+checker",
    "bound": "",
}


class Provider:
    """The provider, on a free port that it keeps when it is started again.

    Args:
        program: the file, its packages beside it.
        files: the folder of certificates: server.pem, server.key, and ca.pem for itself and its clients.
        log: takes what it says.

    """

    def __init__(self, program: Path, files: Path, log: Path) -> None:
        self._program = program
        self._files = {"certificate": f"{files}/server.pem", "key": f"{files}/server.key", "ca": f"{files}/ca.pem"}
        self._log = log
        self._tls = ssl.create_default_context(cafile=files / "ca.pem")
        self.port = 0
        self.start()
        self.issuer = f"https://localhost:{self.port}"

    def start(self) -> None:
        """Start it, with keys that no one knows yet, and wait until it listens."""
        command = ["node", str(self._program), json.dumps({**self._files, "port": self.port})]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        in_time = threading.Timer(SECONDS, self._process.kill)
        in_time.start()
        try:
            said = self._process.stdout.readline() if self._process.stdout else b""
        finally:
            in_time.cancel()
        assert said, self._log.read_text(encoding="utf-8")
        self.port = json.loads(said)["port"]

    def stop(self) -> None:
        """End it; from then on nobody listens."""
        self._process.kill()
        self._process.wait(SECONDS)
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def ended(self) -> bool:
        """Tell whether it was stopped, or has ended by itself."""
        return self._process.poll() is not None

    def freeze(self) -> None:
        """Have it answer no more, and hang up on nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._process.send_signal(signal.SIGCONT)

    def hook(self, name: str, given: object = None) -> Any:
        """Have it do something."""
        body = json.dumps(given).encode()
        answered = self._post(f"/test/{name}", body, {"content-type": "application/json"})
        return json.loads(answered)

    def requests(self, path: str) -> list[float]:
        """Return the milliseconds at which a path was asked for."""
        times: list[float] = self.hook("requests").get(path, [])
        return times

    def sign(self, claims: Mapping[str, object], **header: str) -> str:
        """Return a token that says what it is told to say, signed with the provider's key."""
        token: str = self.hook("sign", {"claims": claims, "header": header})
        return token

    def revoke(self, client_id: str, token: str) -> None:
        """Have a client's token count no more (RFC 7009)."""
        encoded = ":".join(urllib.parse.quote_plus(part) for part in (client_id, SECRETS[client_id]))
        headers = {"authorization": f"Basic {b64encode(encoded.encode()).decode()}"}
        self._post("/token/revocation", urllib.parse.urlencode({"token": token}).encode(), headers)

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(self.issuer + path, body, headers)  # noqa: S310  # https, on loopback
        with urllib.request.urlopen(request, timeout=SECONDS, context=self._tls) as response:  # noqa: S310
            content: bytes = response.read()
        return content
