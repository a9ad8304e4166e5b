"""The edge of a drill: the real Envoy before its service, by what `edge build` makes, begun again whenever it ends."""

from __future__ import annotations

import asyncio
import ssl
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from secure_rpc.configuration import ConfigurationError, read_yaml
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.drills.ground import LOOK_SECONDS, Ground, free_address
from secure_rpc.drills.plan import Plan
from secure_rpc.drills.provider import Provider
from secure_rpc.edge import building, installed, values
from secure_rpc.testing.service import merged

NAME = "drill"  # of the edge, in its values
LOG = "envoy.log"
READY_SECONDS = 60.0  # of a machine that has much to do
ORIGIN = "https://app.example.org"  # whose page may call
SESSIONS = "secure_rpc.v1.SessionService"  # is there where the setting says so
DESCRIPTORS = Path("build/image.binpb")


def missing() -> str:
    """Return what a drill with an edge needs and is not here, "" where all is."""
    if not values.FILE.is_file():
        return f"{values.FILE} is not here: this service has no edge"
    if installed.find() is None or not DESCRIPTORS.is_file():
        return f"there is no Envoy in {installed.ENVIRONMENT}, or no {DESCRIPTORS}; `make drill` makes both"
    return ""


class Front:
    """An edge.

    Args:
        plan: of the drill; what it sets for the edge counts whatever the drill says.
    """

    def __init__(self, plan: Plan) -> None:
        if reason := missing():
            raise ConfigurationError(reason)
        self._plan = plan
        self._address, self.probes = free_address(), free_address()
        self._provider = Provider(find_caller(load_callers(plan.callers), plan.caller))
        self._process: Process | None = None
        self._ground: Ground
        self.folder: Path

    @property
    def target(self) -> str:
        """Return "host:port" for callers."""
        return f"localhost:{self._address.rpartition(':')[2]}"

    @property
    def values(self) -> Path:
        """Return the file of what it is told."""
        return self.folder / "values.yaml"

    @property
    def log(self) -> Path:
        """Return its access log."""
        return self.folder / "access.log"

    def names(self) -> dict[str, str]:
        """Return what commands of runbooks are told of it."""
        return {
            "PROBES": self.probes,
            "VALUES": str(self.values),
            "EDGE": NAME,
            "FILES": str(self.folder),
            "EDGE_LOG": str(self.log),
            "ENVOY": str(self._process.pid if self._process else ""),
        }

    @asynccontextmanager
    async def running(
        self, ground: Ground, told: Mapping[str, Any], services: Sequence[str] = ()
    ) -> AsyncIterator[None]:
        """Run it for as long as the context lasts.

        Args:
            ground: the service behind it.
            told: values that differ from those of development.
            services: that are to be had through it besides the usual ones.
        """
        self._ground, self.folder = ground, ground.folder / "edge"
        self.folder.mkdir()
        await self._provider.settle(ground.copy)
        (ground.folder / "build").mkdir(exist_ok=True)
        keeping = None
        try:
            await self.build(told, services)
            keeping = asyncio.create_task(self._keep())
            await self.ready()
            yield
        finally:
            if keeping is not None:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
            await self._provider.end()

    async def build(self, told: Mapping[str, Any], services: Sequence[str] = ()) -> None:
        """Write its values, and have the service's own command make Envoy's configuration of them.

        Raises:
            ConfigurationError: they are no good.
        """
        data = read_yaml(values.FILE).data
        usual = data["edges"].get("dev") or next(iter(data["edges"].values()))
        edge = merged(merged(merged(usual, self._own()), told), self._plan.edge)
        there = [each for each in data["services"] if each != SESSIONS or self._ground.settings.sessions.refresh]
        whole = {"version": 1, "services": [*there, *services], "edges": {NAME: edge}}
        self.values.write_text(yaml.safe_dump(whole, default_flow_style=None, width=1000), encoding="utf-8")
        arguments = ("edge", "build", "--values", str(self.values), "--edge", NAME, "--out", str(self.folder))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._plan.module, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        said = (await process.communicate())[0].decode(errors="replace")
        if process.returncode:
            raise ConfigurationError(f"edge build ended with {process.returncode}: {said[-1500:]}")

    async def anew(self) -> None:
        """End Envoy, if nobody has, and return when it has begun again and found the service well."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
        await self.ready()

    async def ready(self) -> None:
        """Return when it has found the service well.

        Raises:
            ConfigurationError: it does not; what Envoy has said is told.
        """
        try:
            async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as client:
                while not await self._is_ready(client):  # noqa: ASYNC110  # Envoy tells nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            said = await asyncio.to_thread((self.folder / LOG).read_text, encoding="utf-8", errors="replace")
            raise ConfigurationError(f"Envoy does not find the service: {said[-1500:]}") from None

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        with suppress(httpx.HTTPError):
            return (await client.get(f"http://{self.probes}/readyz")).is_success
        return False

    def client(self) -> httpx.AsyncClient:
        """Return what speaks to it as a browser does."""
        context = ssl.create_default_context(cafile=str(self._ground.files.ca_certificate))
        return httpx.AsyncClient(base_url=f"https://{self.target}", verify=context, trust_env=False)

    def _own(self) -> dict[str, Any]:
        """Return the values of a drill: its addresses and files."""
        files, settings = self._ground.files, self._ground.settings
        watched = str(files.folder)
        pair = {
            "certificate_file": str(files.edge_certificate),
            "key_file": str(files.edge_key),
            "watched_folder": watched,
        }
        return {
            "settings": str(self._ground.copy.config),
            "listen": self._address,
            "probes": self.probes,
            "admin_socket": str(self.folder / "admin.sock"),
            "service": self._ground.target,
            "service_id": f"spiffe://{settings.authentication.trust_domain}/service/{settings.service.name}",
            "public": pair,
            "workload": pair,
            "authority": {"ca_file": str(files.ca_certificate), "watched_folder": watched},
            "secrets_folder": str(self.folder),
            "descriptors_file": str(DESCRIPTORS.resolve()),
            "page_folder": None,
            "exchange": None,
            "origins": [ORIGIN],
            "connect_to": [],
            "keys": {
                each.issuer: {"jwks_url": self._provider.keys_url, "ca_file": str(files.ca_certificate)}
                for each in settings.authentication.issuers
                if each.jwks_file
            },
        }

    async def _keep(self) -> None:
        """Run Envoy, and begin it again when it ends, until cancelled."""
        program = installed.find()
        if program is None:
            raise ConfigurationError(missing())
        command = installed.command(program.absolute(), self.folder / building.ENVOY)
        while True:
            with self.log.open("ab") as access, (self.folder / LOG).open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command, cwd=self._ground.folder, stdin=DEVNULL, stdout=access, stderr=log
                )
            try:
                await self._process.wait()
            finally:
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
            await asyncio.sleep(LOOK_SECONDS)
