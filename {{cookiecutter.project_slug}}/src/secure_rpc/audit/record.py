"""Audit records: who did what to whose data, and how it ended; and what was done to the service itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from secure_rpc.call import Principal
from secure_rpc.observing import NotedCall

CALL = "call"  # the event of a record of a call

_NOBODY = Principal()


class AuditEvent(NamedTuple):
    """What was done to the service, not by a call: a reload, a revocation, a start."""

    event: str
    time_seconds: float  # Unix time
    fields: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the event as it is written."""
        return {"event": self.event, "time": timestamp(self.time_seconds), **self.fields}


def content_of(noted: NotedCall) -> dict[str, Any]:
    """Return a call as it is written; no token and no claim is in it.

    Args:
        noted: in the order of `CallRecord`.
    """
    (
        time_seconds, call_id, method, kind, principal, workload, tenant, rule, peer, code, reason, duration_seconds,
        fields, policy, trace_id,
    ) = noted  # fmt: skip
    if principal is None:
        principal = _NOBODY
    return {
        "event": CALL,
        "time": timestamp(time_seconds),
        "call_id": call_id,
        "method": method,
        "kind": kind,
        "code": code,
        "reason": reason,
        "workload": workload,
        "issuer": principal.issuer,
        "subject": principal.subject,
        "proofs": principal.proofs,
        "tenant": tenant,
        "rule": rule,
        "policy": policy,
        "peer": peer,
        "duration_us": round(duration_seconds * 1_000_000),
        "fields": dict(fields),
        "trace_id": trace_id,
    }


def timestamp(unix_seconds: float) -> str:
    """Return a Unix time in ISO 8601, as all lines of a log have it."""
    second, microseconds = divmod(round(unix_seconds * 1_000_000), 1_000_000)
    return f"{_to_the_second(second)}.{microseconds:06d}+00:00"


@functools.lru_cache(maxsize=100)
def _to_the_second(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
