"""A service in this process: the real server, real TLS, on free ports of loopback, with a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from secure_rpc.audit.trail import lines_of
from secure_rpc.audit.verify import verify
from secure_rpc.client import connect
from secure_rpc.configuration import read_yaml
from secure_rpc.dev.authority import Authority, Leaf, Request, client_request
from secure_rpc.dev.issuer import Caller, TokenIssuer, find_caller, load_callers
from secure_rpc.dev.setup import DevelopmentFiles, prepare, token_issuer
from secure_rpc.platform import Application
from secure_rpc.server import Server
from secure_rpc.settings import Settings

__all__ = ["RunningService", "run_service"]

CONFIG = Path("config/dev.yaml")
CALLERS = Path("config/dev_callers.yaml")


class RunningService:
    """A server that runs, and all that it takes to call it.

    Args:
        server: the server.
        files: its development files.
        callers: who there is to call as.
    """

    def __init__(self, server: Server, files: DevelopmentFiles, callers: Mapping[str, Caller]) -> None:
        self.server = server
        self.files = files
        self.callers = callers
        self.authority = Authority.load(files.ca_certificate, files.ca_key)
        self.issuer: TokenIssuer = token_issuer(server.settings, files)
        self._channels: list[grpc.aio.Channel] = []

    @property
    def target(self) -> str:
        """Return "host:port"."""
        return f"127.0.0.1:{self.server.port}"

    @property
    def trust_domain(self) -> str:
        """Return the trust domain of the server."""
        return self.server.settings.authentication.trust_domain

    def token_of(self, caller: str, **claims: Any) -> str:
        """Return a token of a caller; claims add to the usual ones, or replace them."""
        return self.issuer.token(find_caller(self.callers, caller), **claims)

    def connect(self, *, token: str = "", leaf: Leaf | None = None, ca_pem: bytes = b"") -> grpc.aio.Channel:
        """Return a channel.

        Args:
            token: sent with each call; "" for none.
            leaf: the client's certificate; the developer's where none is given.
            ca_pem: the CAs whose servers are trusted; the server's own where none are given.
        """
        folder = self.files.folder / f"client-{len(self._channels)}"
        folder.mkdir()
        leaf = leaf or self.authority.issue(client_request("developer", self.trust_domain))
        leaf.write(folder / "client.pem", folder / "client.key")
        (folder / "ca.pem").write_bytes(ca_pem or self.authority.certificate_pem)
        pool = descriptor_pool.Default()
        channel = connect(
            self.target,
            certificate_file=folder / "client.pem",
            key_file=folder / "client.key",
            ca_file=folder / "ca.pem",
            services=[pool.FindServiceByName(name) for name in self.server.services],
            token=lambda: token,
            audience=self.server.settings.service.name,
        )
        self._channels.append(channel)
        return channel

    def client_as(self, caller: str) -> grpc.aio.Channel:
        """Return a channel whose calls are made by a caller of the callers file; "" for one without token."""
        return self.connect(token=self.token_of(caller) if caller else "")

    def issue(self, request: Request) -> Leaf:
        """Return a certificate signed by the CA that the server trusts."""
        return self.authority.issue(request)

    async def audit_records(self) -> list[dict[str, Any]]:
        """Return the records of all calls that have ended; fails where the log is not whole."""
        return [line for line in await self.audit_lines() if line["event"] == "call"]

    async def audit_lines(self) -> list[dict[str, Any]]:
        """Return all lines of the audit log, events of the service among them; fails where it is not whole."""
        log = self.server.platform.audit_log
        await log.durable()
        finding = verify(log.path)
        if not finding.whole:
            raise AssertionError(f"the audit log is not whole: {finding.problem}")
        return [line.content for line in lines_of(log.path)]

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric, 0 where it has none yet."""
        self.server.platform.metrics.render()
        return self.server.platform.metrics.registry.get_sample_value(name, labels) or 0.0

    async def close(self) -> None:
        """Close the channels, stop the server."""
        for channel in self._channels:
            await channel.close()
        await self.server.stop(drain=False)


@asynccontextmanager
async def run_service(
    application: Application,
    folder: Path,
    overrides: Mapping[str, Any] | None = None,
    config: Path = CONFIG,
    callers: Path = CALLERS,
) -> AsyncIterator[RunningService]:
    """Run a service with the settings of development, but files in a folder of its own and free ports.

    Args:
        application: the service.
        folder: where its files go; an empty one.
        overrides: settings that differ, nested as in the file.
        config: the settings that the others are taken from.
        callers: who there is to call as.
    """
    files = DevelopmentFiles(folder / "dev")
    settings = Settings(**merged(merged(read_yaml(config).data, _private(files, folder)), overrides or {}))
    if not settings.authentication.issuers:
        raise ValueError("a test service has an issuer of tokens")
    prepare(settings, files)
    server = Server(application, settings)
    await server.start()
    service = RunningService(server, files, load_callers(callers))
    try:
        yield service
    finally:
        await service.close()


def _private(files: DevelopmentFiles, folder: Path) -> dict[str, Any]:
    return {
        "listen": {"address": "127.0.0.1:0", "admin_address": "127.0.0.1:0", "probe_address": ""},
        "admin": {"tls": False, "allowed_workloads": []},
        "tls": {
            "certificate_file": files.folder / "server.pem",
            "key_file": files.folder / "server.key",
            "client_ca_file": files.ca_certificate,
        },
        "revocation": {"deny_list_file": files.folder / "deny.yaml"},
        "authentication": {"issuers": [{"jwks_file": files.folder / "jwks.json"}]},
        "audit": {"file": folder / "audit" / "audit.log"},
        "replay": {"file": folder / "replay.db"},
        "load": {"adaptive": False},  # what a test lets in does not hang on how busy its machine is
        "shutdown": {"drain_seconds": 0, "grace_seconds": 1},
    }


def merged(base: Any, over: Any) -> Any:
    """Return settings with others laid over them: maps and the items of lists are merged, all else is replaced."""
    if isinstance(base, dict) and isinstance(over, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    if isinstance(base, list) and isinstance(over, list) and len(base) == len(over):
        return [merged(one, other) for one, other in zip(base, over, strict=True)]
    return over
