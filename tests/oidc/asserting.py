"""How a call has to end: for its caller, and in the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.oidc.calling import Outcome
    from tests.oidc.service import Service

DEVELOPER = "spiffe://example.org/client/developer"


def assert_allowed(service: Service, outcome: Outcome, issuer: str, subject: str, **recorded: object) -> None:
    assert outcome.code == "OK", outcome
    _assert_recorded(service, outcome, {"reason": "", "issuer": issuer, "subject": subject, **recorded})


def assert_refused(service: Service, outcome: Outcome, code: str, reason: str, **recorded: object) -> None:
    assert (outcome.code, outcome.reason) == (code, reason), outcome
    _assert_recorded(service, outcome, {"reason": reason, **recorded})


def _assert_recorded(service: Service, outcome: Outcome, wanted: dict[str, object]) -> None:
    wanted = {"code": outcome.code, "workload": DEVELOPER, **wanted}
    record = service.recorded(outcome)
    assert {key: record[key] for key in wanted} == wanted, record
