"""Services in processes of their own: the probe's, or the one that is tested, by the command that production uses."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson

from secure_rpc.client import connect
from secure_rpc.configuration import read_yaml
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.dev.setup import DevelopmentFiles, prepare, token_issuer
from secure_rpc.platform import Application
from secure_rpc.settings import load
from secure_rpc.testing.process import ServiceProcess, start_process
from secure_rpc.testing.service import CONFIG, merged

from probe.v1 import probe_pb2 as pb
from support import http2
from support.target import CALLERS, POLICY, SETTINGS

PROBE = "support.serve_probe"
PROBED = "PROBED_APPLICATION"  # the environment variable that tells support.probe_application whose chain to take
SERVED = "PROBE_APPLICATION"  # that which tells support.serve_probe what to serve
PROBE_SERVICES = list(pb.DESCRIPTOR.services_by_name.values())


def module_of(application: Application) -> str:
    """Return the module in which a service keeps its `APPLICATION`."""
    return application.build_chain.__module__


async def readiness(admin: httpx.AsyncClient, *, because: Sequence[str] = ()) -> httpx.Response:
    """Return what a service says that is ready, or is not for these reasons, once it says so.

    On a busy machine a worker may not answer its supervisor in time, and counts as unready until it is asked again.
    """
    async with asyncio.timeout(30):
        while True:
            answer = await admin.get("/readyz")
            if answer.json().get("because", []) == list(because):
                return answer
            await asyncio.sleep(0.05)


class Served:
    """A process that serves, and its callers.

    Args:
        process: the process.
        config: its settings.
        files: its development files.
        callers: who there is to call as.
    """

    def __init__(self, process: ServiceProcess, config: Path, files: DevelopmentFiles, callers: Path) -> None:
        self.process = process
        self.settings = load(config)
        self.files = files
        self._issuer = token_issuer(self.settings, files)
        self._callers = load_callers(callers)
        self._stack = AsyncExitStack()

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.process.send_signal(number)

    async def worker_pid(self) -> int:
        """Return the number of the process that takes the calls: the first, where there are several."""
        return int((await self.process.line("serving"))["pid"])

    def token(self, caller: str = "alice") -> str:
        """Return a sound token."""
        return self._issuer.token(find_caller(self._callers, caller))

    async def channel(self, caller: str = "alice") -> grpc.aio.Channel:
        """Return a channel whose calls are made by a caller, or by nobody; it is closed with the process."""
        channel = connect(
            await self.process.address(),
            certificate_file=self.files.client_certificate,
            key_file=self.files.client_key,
            ca_file=self.files.ca_certificate,
            services=PROBE_SERVICES,
            token=(lambda: self.token(caller)) if caller else None,
        )
        return await self._stack.enter_async_context(channel)

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[http2.Connection]:
        """Open a connection with a certificate, on which anything can be sent."""
        files = self.files
        context = http2.tls_context(files.ca_certificate, files.client_certificate, files.client_key)
        port = int((await self.process.address()).rpartition(":")[2])
        async with http2.connect(port, context) as connection:
            yield connection

    async def close(self) -> None:
        """Close the channels."""
        await self._stack.aclose()


@asynccontextmanager
async def serve_process(
    application: Application,
    folder: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    probe: bool = True,
    served_module: str = "support.probe_application",
) -> AsyncIterator[Served]:
    """Start a process with settings of its own.

    Args:
        application: the service.
        folder: where all files go.
        overrides: settings that differ from the usual.
        probe: whether the probe stands in for the servicers of the service.
        served_module: which one of the tests' own.
    """
    files = DevelopmentFiles(folder / "dev")
    for name, text in {"usual.yaml": SETTINGS, "policy.yaml": POLICY, "callers.yaml": CALLERS}.items():
        (folder / name).write_text(text)
    usual = read_yaml(folder / "usual.yaml" if probe else CONFIG).data
    data = merged(merged(usual, _places(files, folder)), overrides or {})
    if not probe:
        data["authorization"]["policy_file"] = usual["authorization"]["policy_file"]
    config = folder / "settings.yaml"
    config.write_bytes(orjson.dumps(data))  # JSON is YAML
    prepare(load(config), files)
    module = PROBE if probe else module_of(application).partition(".")[0]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), PROBED: module_of(application), SERVED: served_module}
    async with start_process(module, config, environment) as process:
        served = Served(process, config, files, folder / "callers.yaml")
        try:
            yield served
        finally:
            await served.close()


def _places(files: DevelopmentFiles, folder: Path) -> dict[str, Any]:
    return {
        "listen": {"address": "127.0.0.1:0", "admin_address": "127.0.0.1:0"},
        "tls": {
            "certificate_file": str(files.folder / "server.pem"),
            "key_file": str(files.folder / "server.key"),
            "client_ca_file": str(files.ca_certificate),
        },
        "revocation": {"deny_list_file": str(files.folder / "deny.yaml")},
        "authentication": {"issuers": [{"jwks_file": str(files.folder / "jwks.json")}]},
        "authorization": {"policy_file": str(folder / "policy.yaml")},
        "audit": {"file": str(folder / "audit" / "audit.log")},
        "replay": {"file": str(folder / "replay.db")},
        "load": {"adaptive": False},
        "shutdown": {"drain_seconds": 0, "grace_seconds": 5},
    }
