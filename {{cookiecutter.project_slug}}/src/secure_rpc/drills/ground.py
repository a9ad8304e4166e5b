"""Where a drill takes place: the service in a process of its own, on a copy of all that development has."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import orjson
import yaml

from secure_rpc import settings as settings_module
from secure_rpc.configuration import ConfigurationError, read_yaml
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.dev.setup import FOLDER, DevelopmentFiles, prepare, token_issuer
from secure_rpc.drills.plan import Plan
from secure_rpc.settings import PREFIX, Settings
from secure_rpc.telemetry import handshakes
from secure_rpc.testing.process import ServiceProcess, start_process
from secure_rpc.testing.service import merged

WORKERS = 2
DEPLOYMENT_ID = "drill"  # logs and audit say that it is one
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.05
ALIKE = ("pyproject.toml", "deploy", "observability", "proto", "requirements", "runbooks", "src")  # in the repository
GRACE_SECONDS = 1.0  # for what is under way in a worker that is replaced
ENOUGH = {"calls": 1_000_000, "period_seconds": 1}  # no call of a drill is one too many


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of what a service has in its repository, as far as it changes, laid out as it is there."""

    folder: Path
    config: Path
    settings: Settings
    files: DevelopmentFiles


Settle: TypeAlias = Callable[[Copy], Awaitable[Mapping[str, Any]]]


class Ground:
    """A service that runs for a drill, and all that it takes to call it.

    Args:
        process: that serves.
        copy: its files.
        token: of the caller.
        addresses: of the gRPC port and the admin port.
    """

    def __init__(self, process: ServiceProcess, copy: Copy, token: str, addresses: tuple[str, str]) -> None:
        self.process = process
        self.copy = copy
        self.token = token
        self.target, self.admin = addresses

    @property
    def settings(self) -> Settings:
        """Return those of the service."""
        return self.copy.settings

    @property
    def files(self) -> DevelopmentFiles:
        """Return its development files."""
        return self.copy.files

    @property
    def folder(self) -> Path:
        """Return the folder that is gone after the drill."""
        return self.copy.folder

    def names(self) -> dict[str, str]:
        """Return what runbooks/shell.sh has to be told to be about this service."""
        return {"CONFIG": str(self.copy.config.relative_to(self.folder))}

    async def metric(self, name: str) -> float:
        """Return the value of a metric, by its name and labels as they are exposed; 0 where it has none yet."""
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # is trusted by it: to read the system's CAs takes long
        async with httpx.AsyncClient(base_url=f"http://{self.admin}", trust_env=False, verify=nobody) as admin:
            text = (await admin.get("/metrics")).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @asynccontextmanager
    async def taken_up(self, counter: str) -> AsyncIterator[None]:
        """Return when what is done in the context was taken up by every worker: a counter tells."""
        before = await self.metric(counter)
        yield
        await self.until(lambda value: value >= before + self.settings.workers, counter)

    async def until(self, reached: Callable[[float], bool], metric: str) -> None:
        """Return when a metric has a value.

        Raises:
            TimeoutError: it does not come to have it.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached(await self.metric(metric)):  # noqa: ASYNC110  # a process tells nobody
                await asyncio.sleep(LOOK_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        self.process.process.send_signal(number)


@asynccontextmanager
async def prepared(
    plan: Plan, settings: Mapping[str, Any] | None = None, settle: Settle | None = None
) -> AsyncIterator[Ground]:
    """Start the service of a plan, in a folder that is gone afterwards, and stop it in order.

    Args:
        plan: of the drill.
        settings: further ones that differ from those of development.
        settle: prepares what the service depends on, once there are certificates and keys, and gives the settings for
            that.

    Raises:
        ConfigurationError: the settings, the callers or the policy are not those of development.
    """
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as name, own_settings():
        copy = copied(plan, Path(name), settings or {})
        token = token_issuer(copy.settings, copy.files).token(find_caller(load_callers(plan.callers), plan.caller))
        if settle is not None:
            _amend(copy.config, await settle(copy), plan.settings)
        environment = {handshakes.VERBOSITY: "INFO", **plan.environment}  # else it cannot count failed handshakes
        async with start_process(plan.module, copy.config, environment) as process:
            addresses = await process.address(), await process.admin()
            ground = Ground(process, copy, token, addresses)
            await ground.until(lambda ready: ready == copy.settings.workers, "secure_rpc_workers_ready")
            yield ground
            ground.signal(signal.SIGTERM)
            code = await process.ended(PATIENCE_SECONDS)
            if code:
                raise RuntimeError(f"the service ended with {code}, not in order")


def _amend(config: Path, *settings: Mapping[str, Any]) -> None:
    """Lay settings over those of a file, each on a line of its own: commands of runbooks change them."""
    data = read_yaml(config).data
    for each in settings:
        data = merged(data, each)
    config.write_text(yaml.safe_dump(_without_none(data)), encoding="utf-8")


def _without_none(value: Any) -> Any:
    """Return settings without those that say nothing: as people write them."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def copied(plan: Plan, folder: Path, settings: Mapping[str, Any]) -> Copy:
    """Write settings that differ from those of development in addresses, files, quotas and workers, and all they need.

    Args:
        plan: of the drill.
        folder: for all files.
        settings: further ones that differ.

    Raises:
        ConfigurationError: what they are taken from cannot be read, or is not of development.
    """
    files = DevelopmentFiles(folder / FOLDER)
    data = read_yaml(plan.config).data
    theirs = settings_module.load(plan.config)
    policy = folder / "policy" / "policy.yaml"
    policy.parent.mkdir()
    try:
        policy.write_bytes(theirs.authorization.policy_file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{theirs.authorization.policy_file}: cannot be read ({error.strerror})") from None
    own: dict[str, Any] = {
        "service": {"deployment_id": DEPLOYMENT_ID},
        # ports that commands find in the settings
        "listen": {"address": free_address(), "admin_address": free_address(), "probe_address": ""},
        "admin": {"tls": False, "allowed_workloads": []},
        "authorization": {"policy_file": str(policy), "rollout_file": str(policy.parent / "rollout.yaml")},
        "revocation": {"deny_list_file": str(files.folder / "deny.yaml")},
        "audit": {"file": str(folder / "audit" / "audit.log")},
        "quotas": dict.fromkeys(theirs.quotas, ENOUGH),
        "load": {"adaptive": False},  # a drill fails by what it is about, not by the machine
        "logging": {"level": "info", "allowed_calls_sample": 0},
        "shutdown": {"drain_seconds": 0, "grace_seconds": GRACE_SECONDS},
        "replay": {"file": str(folder / "replay.db")},
        "workers": WORKERS,
        "quota_scope": "worker",
        "standby_worker": True,
        # they would not find each other's streams
        "sessions": {"refresh": theirs.state is not None},
    }
    config = folder / "config" / "drill.yaml"
    config.parent.mkdir()
    changed = merged(merged(merged(_moved(data, files), own), settings), plan.settings)
    config.write_bytes(orjson.dumps(changed))  # JSON is YAML
    loaded = settings_module.load(config)
    prepare(loaded, files)
    for name in ALIKE:
        if Path(name).exists():
            (folder / name).symlink_to(Path(name).resolve())
    (folder / ".venv").symlink_to(sys.prefix)
    return Copy(folder, config, loaded, files)


def free_address() -> str:
    """Return "host:port" of a port of this machine that nobody listens at."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def _moved(value: Any, files: DevelopmentFiles) -> Any:
    """Return settings whose development files are in another folder."""
    if isinstance(value, Mapping):
        return {key: _moved(inner, files) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, files) for inner in value]
    if isinstance(value, str) and DevelopmentFiles(FOLDER).has(Path(value)):
        return str(files.folder / Path(value).name)
    return value


@contextmanager
def own_settings() -> Iterator[None]:
    """Take settings of the environment out of it: they are for the service of the user."""
    taken = {name: value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    for name in taken:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(taken)
