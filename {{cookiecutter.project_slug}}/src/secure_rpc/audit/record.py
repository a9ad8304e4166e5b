"""Audit records: who did what to whose data, and how it ended; and what was done to the service itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from secure_rpc.call import Principal

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


class AuditRecord(NamedTuple):
    """A call that has ended, as cheaply as it can be noted."""

    time_seconds: float  # Unix time at which the call began
    call_id: str
    method: str
    kind: str
    principal: Principal | None
    workload: str  # of the certificate, also where there is no principal
    tenant: str
    rule: str
    peer: str
    code: str
    reason: str
    duration_seconds: float
    fields: tuple[tuple[str, str], ...] = ()  # of the request, as the contract's audit_fields ask
    policy: str = ""  # the version that the rule is of
    trace_id: str = ""  # of the W3C trace context

    def as_dict(self) -> dict[str, Any]:
        """Return the record as it is written; no token and no claim is in it."""
        principal = self.principal or _NOBODY
        return {
            "event": CALL,
            "time": timestamp(self.time_seconds),
            "call_id": self.call_id,
            "method": self.method,
            "kind": self.kind,
            "code": self.code,
            "reason": self.reason,
            "workload": self.workload,
            "issuer": principal.issuer,
            "subject": principal.subject,
            "proofs": principal.proofs,
            "tenant": self.tenant,
            "rule": self.rule,
            "policy": self.policy,
            "peer": self.peer,
            "duration_us": round(self.duration_seconds * 1_000_000),
            "fields": dict(self.fields),
            "trace_id": self.trace_id,
        }


def timestamp(unix_seconds: float) -> str:
    """Return a Unix time in ISO 8601, as all lines of a log have it."""
    second, microseconds = divmod(round(unix_seconds * 1_000_000), 1_000_000)
    return f"{_to_the_second(second)}.{microseconds:06d}+00:00"


@functools.lru_cache(maxsize=100)
def _to_the_second(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
