"""Where a drill takes place: the service in a process of its own, on a copy of all that development has."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from secure_rpc import settings as settings_module
from secure_rpc.configuration import ConfigurationError, read_yaml
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.dev.setup import FOLDER, DevelopmentFiles, prepare, token_issuer
from secure_rpc.drills.plan import Plan
from secure_rpc.settings import PREFIX, Settings
from secure_rpc.testing.process import ServiceProcess, start_process
from secure_rpc.testing.service import merged

WORKERS = 2
DEPLOYMENT_ID = "drill"  # logs and audit say that it is one
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.05
GRACE_SECONDS = 1.0  # for what is under way in a worker that is replaced
ENOUGH = {"calls": 1_000_000, "period_seconds": 1}  # no call of a drill is one too many


class Ground:
    """A service that runs for a drill, and all that it takes to call it.

    Args:
        process: that serves.
        settings: its own.
        files: its development files.
        token: of the caller.
        addresses: of the gRPC port and the admin port.
    """

    def __init__(
        self,
        process: ServiceProcess,
        settings: Settings,
        files: DevelopmentFiles,
        token: str,
        addresses: tuple[str, str],
    ) -> None:
        self.process = process
        self.settings = settings
        self.files = files
        self.token = token
        self.target, self._admin = addresses

    async def metric(self, name: str) -> float:
        """Return the value of a metric, by its name and labels as they are exposed; 0 where it has none yet."""
        async with httpx.AsyncClient(base_url=f"http://{self._admin}", trust_env=False) as admin:
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
async def prepared(plan: Plan) -> AsyncIterator[Ground]:
    """Start the service of a plan, in a folder that is gone afterwards, and stop it in order.

    Raises:
        ConfigurationError: the settings, the callers or the policy are not those of development.
    """
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as name, own_settings():
        folder = Path(name)
        config, settings, files = copied(plan, folder)
        token = token_issuer(settings, files).token(find_caller(load_callers(plan.callers), plan.caller))
        async with start_process(plan.module, config, plan.environment) as process:
            addresses = await process.address(), await process.admin()
            ground = Ground(process, settings, files, token, addresses)
            await ground.until(lambda ready: ready == settings.workers, "secure_rpc_workers_ready")
            yield ground
            ground.signal(signal.SIGTERM)
            code = await process.ended(PATIENCE_SECONDS)
            if code:
                raise RuntimeError(f"the service ended with {code}, not in order")


def copied(plan: Plan, folder: Path) -> tuple[Path, Settings, DevelopmentFiles]:
    """Write settings that differ from those of development in addresses, files, quotas and workers, and all they need.

    Raises:
        ConfigurationError: what they are taken from cannot be read, or is not of development.
    """
    files = DevelopmentFiles(folder / "dev")
    data = read_yaml(plan.config).data
    theirs = settings_module.load(plan.config)
    policy = folder / "policy.yaml"
    try:
        policy.write_bytes(theirs.authorization.policy_file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{theirs.authorization.policy_file}: cannot be read ({error.strerror})") from None
    own: dict[str, Any] = {
        "service": {"deployment_id": DEPLOYMENT_ID},
        "listen": {"address": "127.0.0.1:0", "admin_address": "127.0.0.1:0", "probe_address": ""},
        "admin": {"tls": False, "allowed_workloads": []},
        "authorization": {"policy_file": str(policy), "rollout_file": str(folder / "rollout.yaml")},
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
    config = folder / "settings.yaml"
    config.write_bytes(orjson.dumps(merged(_moved(data, files), own)))  # JSON is YAML
    settings = settings_module.load(config)
    prepare(settings, files)
    return config, settings, files


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
