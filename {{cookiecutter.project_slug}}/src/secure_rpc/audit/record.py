"""One audit record: who did what to whose data, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from secure_rpc.call import Principal

_NOBODY = Principal()


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
            "event": "call",
            "time": datetime.fromtimestamp(self.time_seconds, UTC).isoformat(timespec="microseconds"),
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
