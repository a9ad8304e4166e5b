"""All checks, by the rooms they stand in."""

from __future__ import annotations

from secure_rpc.doctor import access, deployment, identity, limits, living, origin, records, transport
from secure_rpc.doctor.checks import Check

CONFIGURED: tuple[Check, ...] = (
    *transport.CHECKS,
    *identity.CHECKS,
    *access.CHECKS,
    *limits.CHECKS,
    *records.CHECKS,
    *deployment.CHECKS,
    *origin.CHECKS,
)
CHECKS = (*CONFIGURED, *living.CHECKS)  # the last of them are made where a running service is named
IDS = frozenset(check.id for check in CHECKS)
