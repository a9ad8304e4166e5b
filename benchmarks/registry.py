"""All measurements, in the order of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measurements import (
    footprint,
    kinds,
    latency,
    memory,
    methods,
    parts,
    peers,
    principals,
    profile,
    quota,
    refused,
    rotation,
    servers,
    start,
    workers,
)

if TYPE_CHECKING:
    from benchmarks.measurement import Measurement

ALL: tuple[Measurement, ...] = (
    servers.SERVERS,
    profile.PROFILE,
    peers.PEERS,
    refused.REFUSED,
    methods.METHODS,
    kinds.KINDS,
    latency.LATENCY,
    memory.MEMORY,
    principals.PRINCIPALS,
    parts.TELEMETRY,
    parts.IDENTITY,
    parts.POLICY,
    parts.STREAMS,
    parts.HANDSHAKES,
    parts.FLOOD,
    parts.STORE,
    workers.WORKERS,
    quota.QUOTA,
    rotation.ROTATION,
    start.START,
    footprint.FOOTPRINT,
)
BY_NAME = {measurement.name: measurement for measurement in ALL}
