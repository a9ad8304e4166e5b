"""A client of servers that speak HTTP without gRPC: it looks at one answer, byte by byte."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

from benchmarks.workspace import FailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.workspace import Workspace

SECONDS = 10.0
OK, UNAUTHORIZED = 200, 401


class Client:
    """Asks for what is kept, with a token and without.

    Args:
        workspace: Has the certificates.
        target: "host:port".
        token: Of somebody who may read.
        path: Of the call.
        body: Of the request; a call without one is a GET.
        headers: "name: value".
        answer: What is answered.

    """

    def __init__(  # noqa: D107, PLR0913, PLR0917  # each is a part of the call
        self,
        workspace: Workspace,
        target: str,
        token: str,
        path: str,
        body: bytes,
        headers: Sequence[str],
        answer: bytes,
    ) -> None:
        folder = workspace.certificates
        self._context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._context.load_cert_chain(folder / "client.pem", folder / "client.key")
        self._target, self._path, self._body, self._answer = target, path, body, answer
        self._headers = dict(header.split(": ", 1) for header in headers)
        self._authorized = {**self._headers, "authorization": f"Bearer {token}"}

    def create(self) -> None:
        """See that who shows no token is refused; what is asked for is kept already."""
        if (status := self._call(self._headers)[0]) != UNAUTHORIZED:
            raise FailedError(f"a call without a token is answered {status}")

    def check(self) -> None:
        """See that the measured call ends well and with the right answer.

        Raises:
            FailedError: It does not.

        """
        if (told := self._call(self._authorized)) != (OK, self._answer):
            raise FailedError(f"the answer is not what was kept: {told}")

    def close(self) -> None:
        """Keep nothing open."""

    def _call(self, headers: dict[str, str]) -> tuple[int, bytes]:
        host, _, port = self._target.rpartition(":")
        connection = http.client.HTTPSConnection(
            "localhost" if host == "127.0.0.1" else host, int(port), context=self._context, timeout=SECONDS
        )
        try:
            connection.request("POST" if self._body else "GET", self._path, self._body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
