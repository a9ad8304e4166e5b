"""All controls, by the areas they stand in."""

from __future__ import annotations

from secure_rpc.controls import (
    authorization,
    deployment,
    identity,
    observability,
    operations,
    protection,
    scenarios,
    streams,
    transport,
)

AREAS = (
    transport.AREA,
    identity.AREA,
    authorization.AREA,
    protection.AREA,
    streams.AREA,
    observability.AREA,
    deployment.AREA,
    operations.AREA,
    scenarios.AREA,
)
CONTROLS = tuple(control for area in AREAS for control in area.controls)
