"""What is known of the process: what it was made of, what it uses, and how late its event loop is."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import ssl
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STATISTICS = Path("/proc/self")  # Linux alone has it
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
INTERVAL_SECONDS = 0.25  # between two looks at the loop


class ProcessMetrics:
    """The numbers of this process; of several workers, they are added up.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cpu = Counter("process_cpu_seconds", "CPU time, of user and system.", registry=registry)
        self._cpu_before = 0.0
        self._resident = _sum_of("process_resident_memory_bytes", "Memory that is held.", registry)
        self._descriptors = _sum_of("process_open_fds", "File descriptors that are open.", registry)
        self._lag = Histogram(
            "secure_rpc_event_loop_lag_seconds",
            f"How much later than asked the event loop woke, looked at every {INTERVAL_SECONDS:g} s.",
            registry=registry,
            buckets=LAG_SECONDS,
        )
        self._build = Gauge(
            "secure_rpc_build_info",
            "What the service is made of; always 1.",
            ("service", "version", "deployment_id", "python", "grpcio", "cryptography", "openssl"),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def is_made_of(self, service: str, deployment_id: str) -> None:
        """Tell the versions.

        Args:
            service: its name, which is that of its distribution as well.
            deployment_id: tells one roll-out from another, also of the same version.
        """
        libraries = (_version("grpcio"), _version("cryptography"), ssl.OPENSSL_VERSION.split()[1])
        self._build.labels(service, _version(service), deployment_id, platform.python_version(), *libraries).set(1)

    def refresh(self) -> None:
        """Look at the process."""
        times = os.times()
        self._cpu.inc(times.user + times.system - self._cpu_before)
        self._cpu_before = times.user + times.system
        with suppress(OSError):
            pages = int((STATISTICS / "statm").read_text().split()[1])
            self._resident.set(pages * os.sysconf("SC_PAGE_SIZE"))
            self._descriptors.set(len(list((STATISTICS / "fd").iterdir())) - 1)  # one is that of the listing

    async def watch_loop(self) -> None:
        """Note how late the event loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_SECONDS
            await asyncio.sleep(INTERVAL_SECONDS)
            self._lag.observe(max(loop.time() - due, 0.0))


def _sum_of(name: str, text: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, registry=registry, multiprocess_mode="livesum")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
