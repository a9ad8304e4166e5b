"""The callers of a service: tests tell them what to do, `caller.py` does it."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.oidc.provider import OIDC, SECONDS, SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.oidc.provider import Provider
    from tests.oidc.service import Service

JWT = "urn:order-service:RS256"  # what a token is asked for: an audience, and how it is signed
JWT_ES256 = "urn:order-service:ES256"
OPAQUE = "urn:order-service:opaque"


@dataclass(frozen=True)
class Outcome:
    """How a call ended, as its caller knows it."""

    code: str
    reason: str = ""
    message: str = ""
    call_id: str = ""  # only those that are refused are told
    response: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)  # of the request

    @property
    def audited(self) -> dict[str, str]:
        """Return those fields that the audit is to show."""
        return {name: value for name, value in self.fields.items() if name in {"audience", "title"}}


class Callers:
    """A process that calls, with the service's own Python and its client.

    Args:
        folder: of a service that is set up.

    """

    def __init__(self, folder: Path) -> None:
        command = [folder / ".venv" / "bin" / "python", OIDC / "caller.py"]
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def prepare(self, folder: Path) -> None:
        """Make further certificates and keys."""
        self._do("prepare", folder=str(folder))

    def token(self, provider: Provider, client_id: str, resource: str = JWT) -> str:
        """Return a token of a client's own."""
        told = self.asked_for_a_token(provider, client_id, resource)
        assert "token" in told, told
        return told["token"]

    def asked_for_a_token(
        self, provider: Provider, client_id: str, resource: str = JWT, path: str = "/token"
    ) -> dict[str, str]:
        """Return the token, or why there is none."""
        told: dict[str, str] = self._do("token", **_source(provider, client_id, resource, path))
        return told

    def development_token(self, subject: str, tenants: list[str], groups: list[str]) -> str:
        """Return a token of the development issuer."""
        token: str = self._do("sign", subject=subject, tenants=tenants, groups=groups)["token"]
        return token

    def find_whole(self, service: Service) -> bool:
        """Tell whether no audit record of a service is missing."""
        whole: bool = self._do("whole", file=str(service.audit_file))
        return whole

    def call(self, service: Service, token: str, certificate: str = "developer") -> Outcome:
        """Make an order."""
        (outcome,) = self.calls(service, [token], certificate)
        return outcome

    def calls(self, service: Service, tokens: Iterable[str], certificate: str = "developer") -> list[Outcome]:
        """Make an order with each of the tokens, many at once on one channel."""
        return self._calls(service, [("CreateOrder", token, _order()) for token in tokens], certificate)

    def call_with_source(
        self, service: Service, provider: Provider, client_id: str, resource: str, times: int = 1
    ) -> list[Outcome]:
        """Make orders one after another; the channel gets its token by itself, when it needs one."""
        source = _source(provider, client_id, resource, "/token")
        return self._calls(service, [("CreateOrder", "", _order()) for _ in range(times)], source=source)

    def exchange(self, service: Service, token: str, subject_token: str, audience: str = "order-service") -> Outcome:
        """Have a token exchanged."""
        fields = {"subject_token": subject_token, "audience": audience}
        (outcome,) = self._calls(service, [("Exchange", token, fields)])
        return outcome

    def stop(self) -> None:
        """Let it end."""
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            try:
                self._process.wait(SECONDS)
            finally:
                self._process.kill()
                self._process.stdout.close()

    def _calls(
        self,
        service: Service,
        asked: list[tuple[str, str, dict[str, str]]],
        certificate: str = "developer",
        source: dict[str, str] | None = None,
    ) -> list[Outcome]:
        calls = [{"method": method, "token": token, "fields": fields} for method, token, fields in asked]
        address = f"localhost:{service.port}"
        told = self._do("calls", address=address, certificate=_file(certificate), calls=calls, source=source)
        return [Outcome(**each, fields=fields) for each, (_, _, fields) in zip(told, asked, strict=True)]

    def _do(self, job: str, **arguments: object) -> Any:
        if not self._process.stdin or not self._process.stdout:
            raise RuntimeError("the callers have no pipes")
        self._process.stdin.write(json.dumps({"do": job, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the callers have ended over {job}"
        return json.loads(answer)


def _source(provider: Provider, client_id: str, resource: str, path: str) -> dict[str, str]:
    return {
        "url": provider.issuer + path,
        "client_id": client_id,
        "secret": SECRETS[client_id],
        "resource": resource,
        "certificate": "client",
    }


def _file(certificate: str) -> str:
    return "client" if certificate == "developer" else certificate


def _order() -> dict[str, str]:
    return {"tenant": "acme", "title": secrets.token_hex(8)}
