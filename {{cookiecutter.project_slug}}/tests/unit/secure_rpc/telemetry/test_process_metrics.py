"""What the process uses is told as the system knows it, and the loop's lag as it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from secure_rpc.telemetry.process_metrics import ProcessMetrics

from support.clocks import until


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_memory_is_that_of_the_system(registry: CollectorRegistry) -> None:
    ProcessMetrics(registry).refresh()
    [held] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    assert registry.get_sample_value("process_resident_memory_bytes") == pytest.approx(
        int(held.split()[1]) * 1024, rel=0.1
    )


def test_descriptors_are_those_that_are_open() -> None:
    """In a process of its own: here, those of other tests may be closed meanwhile."""
    code = (
        "from prometheus_client import CollectorRegistry\n"
        "from secure_rpc.telemetry.process_metrics import ProcessMetrics\n"
        "registry = CollectorRegistry(); metrics = ProcessMetrics(registry)\n"
        "def count(): metrics.refresh(); return registry.get_sample_value('process_open_fds')\n"
        "before = count(); kept = [open('/dev/null'), open('/dev/null')]; print(count() - before, before >= 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2.0 True\n"


def test_cpu_time_grows_as_it_is_used(registry: CollectorRegistry) -> None:
    metrics = ProcessMetrics(registry)
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    metrics.refresh()
    used = os.times()
    assert registry.get_sample_value("process_cpu_seconds_total") == pytest.approx(used.user + used.system, abs=0.05)


def test_versions_are_those_of_what_runs(registry: CollectorRegistry) -> None:
    ProcessMetrics(registry).is_made_of("no-such-distribution", "d-1")
    [sample] = [
        each for family in registry.collect() for each in family.samples if each.name == "secure_rpc_build_info"
    ]
    said = [sample.labels[name] for name in ("service", "version", "deployment_id")]
    assert said == ["no-such-distribution", "", "d-1"]
    assert sample.labels["grpcio"].count(".") == 2
    assert sample.value == 1


async def test_a_loop_that_is_held_up_is_late(registry: CollectorRegistry) -> None:
    watching = asyncio.create_task(ProcessMetrics(registry).watch_loop())
    await asyncio.sleep(0)
    time.sleep(0.4)  # noqa: ASYNC251  # holds up the loop
    await until(lambda: registry.get_sample_value("secure_rpc_event_loop_lag_seconds_count"))
    watching.cancel()
    assert (registry.get_sample_value("secure_rpc_event_loop_lag_seconds_sum") or 0) >= 0.1
