"""A browser in a process of its own, and what a test has it do."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PROGRAM = Path(__file__).with_name("browser.mjs")
SECONDS = 30.0
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def missing() -> list[str]:
    """Return what the machine lacks."""
    needed = [name for name in ("node", "npm") if not shutil.which(name)]
    return needed if any(map(shutil.which, PROGRAMS)) else [*needed, "chromium"]


def key_digest(certificate: Path) -> str:
    """Return the digest by which a browser is told to trust a certificate's key, and no other."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


class Browser:
    """A browser with one page.

    Args:
        program: the file, its packages beside it.
        folder: for the browser's files, which has none yet.
        certificates: whose keys it trusts, and no others.

    """

    def __init__(self, program: Path, folder: Path, certificates: list[Path]) -> None:
        chromium = next(filter(None, map(shutil.which, PROGRAMS)))
        job = {"program": chromium, "folder": str(folder), "keys": [*map(key_digest, certificates)], "seconds": SECONDS}
        self._process = subprocess.Popen(
            ["node", program, json.dumps(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, name: str, /, **given: object) -> Any:
        """Have it do something, and return what comes of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": name, **given}) + "\n")
        self._process.stdin.flush()
        answered = json.loads(self._process.stdout.readline())
        assert "error" not in answered, answered["error"]
        return answered["value"]

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element shows a text."""
        self.do("shows", selector=selector, text=text)

    def texts(self, selector: str) -> list[str]:
        """Return what elements show."""
        found: list[str] = self.do("texts", selector=selector)
        return found

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console since this was last asked."""
        told: list[str] = self.do("complaints")
        return told

    def call(self, label: str, text: str, button: str) -> None:
        """Fill in a form and send it."""
        self.do("fill", label=label, text=text)
        self.do("click", name=button)

    def log_in(self, url: str, name: str) -> None:
        """Open the page and log in."""
        self.do("open", url=url)
        self.do("click", name="Log in")
        self.do("click", name=name)
        self.shows("#account", f"Logged in as {name}")

    def stop(self) -> None:
        """Close it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(SECONDS)
        if self._process.stdout:
            self._process.stdout.close()
