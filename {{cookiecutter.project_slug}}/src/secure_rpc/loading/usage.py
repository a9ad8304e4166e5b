"""What the server needs meanwhile, as its own metrics tell."""

from __future__ import annotations

import time
from ssl import SSLContext

import httpx

CPU, MEMORY = "process_cpu_seconds_total", "process_resident_memory_bytes"
TIMEOUT_SECONDS = 5.0


class Usage:
    """CPU time and memory of the server between two moments.

    Args:
        url: of its metrics; "" where there are none to be had.
        context: TLS, for metrics that are served with it.
    """

    def __init__(self, url: str, context: SSLContext | None = None) -> None:
        self._url = url
        self._verify: SSLContext | bool = context or True
        self._before: dict[str, float] = {}
        self._since = 0.0
        self.problem = "" if url else "no metrics are named"

    async def begin(self) -> None:
        """Note how much there was before."""
        self._before, self._since = await self._read(), time.perf_counter()

    async def end(self) -> dict[str, float]:
        """Return what has been needed since; nothing where the metrics do not tell."""
        after, seconds = await self._read(), time.perf_counter() - self._since
        if CPU not in after or CPU not in self._before:
            return {}
        cpu_seconds = after[CPU] - self._before[CPU]
        found = {"cpu_seconds": cpu_seconds, "seconds": seconds, "cores": cpu_seconds / seconds}
        if MEMORY in after:
            found |= {"memory_bytes": after[MEMORY], "memory_growth_bytes": after[MEMORY] - self._before[MEMORY]}
        return found

    async def _read(self) -> dict[str, float]:
        if not self._url:
            return {}
        try:
            async with httpx.AsyncClient(verify=self._verify, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
                answer = (await client.get(self._url)).raise_for_status()
        except (httpx.HTTPError, OSError) as error:
            self.problem = f"{self._url}: {error or type(error).__name__}"
            return {}
        pairs = (
            line.rpartition(" ") for line in answer.text.splitlines() if line.startswith((f"{CPU} ", f"{MEMORY} "))
        )
        return {name: float(value) for name, _, value in pairs}
