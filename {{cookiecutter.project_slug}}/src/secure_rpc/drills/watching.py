"""The real Prometheus beside a drill, with the service's own rules in a hurry."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import orjson

from secure_rpc.configuration import ConfigurationError
from secure_rpc.observability import objectives

RULES = Path("observability/rules.yaml")
JOB = Path("observability/objectives.yaml")
FASTER = 60  # times: a minute of the rules is a second of the drill
READY_SECONDS = 30.0
LOOK_SECONDS = 0.1
_DURATION = re.compile(r"(?<=\[)(\d+)([mhd])(?=\])|(?<=for: )(\d+)([smhd])\b|(?<=interval: )(\d+)(m|s)\b")
_AGE = re.compile(r"(?<=secure_rpc_issuer_keys_age_seconds\{)([^}]*\}\) > )(\d+)")
_SMALLER = {"m": "s", "h": "m", "d": "h"}


class Watch:
    """Prometheus, as far as a drill asks it.

    Args:
        client: of its address; one for all that is asked, for each takes long to make.
        jobs: what the service, and the edge before it, are called there.
    """

    def __init__(self, client: httpx.AsyncClient, jobs: Collection[str]) -> None:
        self._client = client
        self._jobs = jobs

    async def value(self, expression: str) -> float:
        """Return the value of an expression, the sum of all its series; 0 where it has none."""
        found = await self._get("/api/v1/query", query=expression)
        return sum(float(series["value"][1]) for series in found["result"])

    async def firing(self, alert: str) -> bool:
        """Tell whether an alert of the service, or of its edge, fires."""
        found = await self._get("/api/v1/alerts")
        return any(
            each["state"] == "firing" and each["labels"]["alertname"] == alert and each["labels"]["job"] in self._jobs
            for each in found["alerts"]
        )

    async def runbook(self, alert: str) -> str:
        """Return the address of the runbook that an alert gives to who is woken by it; "" where it does not fire."""
        found = await self._get("/api/v1/alerts")
        urls = [each["annotations"]["runbook_url"] for each in found["alerts"] if each["labels"]["alertname"] == alert]
        return str(urls[0]) if urls else ""

    async def ready(self) -> bool:
        """Tell whether it answers."""
        with suppress(httpx.HTTPError):
            return (await self._client.get("/-/ready")).is_success
        return False

    async def _get(self, path: str, **query: str) -> Any:
        answer = await self._client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()["data"]


def hurried(rules: str) -> str:
    """Return rules with minutes for hours and seconds for minutes: in their windows, their patience, ages of keys."""

    def shorter(found: re.Match[str]) -> str:
        number, unit = [part for part in found.groups() if part]
        return "1s" if found[0].endswith("s") else f"{number}{_SMALLER[unit]}"

    younger = _AGE.sub(lambda found: f"{found[1]}{float(found[2]) / FASTER:g}", rules)
    return _DURATION.sub(shorter, younger)


def _write(folder: Path, rules: str, targets: Mapping[str, str]) -> None:
    folder.mkdir()
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    settings = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
        ],
    }
    (folder / "prometheus.yaml").write_bytes(orjson.dumps(settings))  # JSON is YAML


@asynccontextmanager
async def watching(
    admin: Callable[[], str], folder: Path, edge: str = "", repository: Path = Path()
) -> AsyncIterator[Watch]:
    """Run Prometheus, which scrapes the service of a drill.

    Args:
        admin: gives "host:port" of the service's admin port.
        folder: for its files.
        edge: "host:port" of the probes of an edge before it; "" where there is none.
        repository: of the service, whose rules it takes.

    Raises:
        ConfigurationError: it is not installed, or there are no rules.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise ConfigurationError("prometheus is not on PATH; a drill watches the alerts (apt-get install prometheus)")
    try:
        rules = (repository / RULES).read_text(encoding="utf-8")
        promises = objectives.load(repository / JOB)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: cannot be read ({error.strerror}); run it in the repository"
        ) from None
    targets = {promises.job: admin(), **({promises.at_the_edge().job: edge} if edge else {})}
    await asyncio.to_thread(_write, folder, hurried(rules), targets)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "log.txt").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={address}",
            cwd=folder,
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            watch = Watch(client, targets)
            async with asyncio.timeout(READY_SECONDS):
                while not await watch.ready():
                    if process.returncode is not None:
                        said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
                        raise ConfigurationError(f"prometheus does not take the rules: {said[-2000:]}")
                    await asyncio.sleep(LOOK_SECONDS)
            yield watch
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
