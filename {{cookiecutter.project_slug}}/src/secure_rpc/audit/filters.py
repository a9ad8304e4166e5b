"""Which records somebody wants to see, and a line of text for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from secure_rpc.audit.record import CALL
from secure_rpc.configuration import ConfigurationError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
COLUMNS = ("time", "what", "who", "outcome", "tenant", "id")
_LINKS = frozenset({"chain", "seq", "prev", "event", "time"})
MAX_DETAIL_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted; "" is anything, `*` in a text is any text."""

    since: datetime | None = None
    until: datetime | None = None
    principal: str = ""  # the subject, the workload, or "issuer subject"
    method: str = ""  # "/package.Service/Method", or the name alone
    code: str = ""
    reason: str = ""
    tenant: str = ""
    call_id: str = ""
    event: str = ""

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record is wanted."""
        method, subject = _text(record, "method"), _text(record, "subject")
        names = (subject, _text(record, "workload"), f"{_text(record, 'issuer')} {subject}")
        return (
            _fits(self.event, _text(record, "event"))
            and _fits(self.call_id, _text(record, "call_id"))
            and _fits(self.code, _text(record, "code"))
            and _fits(self.reason, _text(record, "reason"))
            and _fits(self.tenant, _text(record, "tenant"))
            and _fits(self.method, method, method.rpartition("/")[2])
            and _fits(self.principal, *names)
            and self._is_in_time(_text(record, "time"))
        )

    def _is_in_time(self, text: str) -> bool:
        if self.since is None and self.until is None:
            return True
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            return False
        if time.tzinfo is None:
            return False
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


def moment(text: str, option: str, now: datetime | None = None) -> datetime | None:
    """Return the time that a text means: ISO 8601, or how long ago, such as "15m", "2h", "7d"; none where it is empty.

    Raises:
        ConfigurationError: it means none.
    """
    if not text:
        return None
    try:
        if text[-1] in _UNITS and text[:-1].isdecimal():
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f'{option}: "{text}" is no time; write "2026-01-31T12:00:00+00:00", "2026-01-31" (UTC), or "2h" ago'
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the columns of a table say of a record."""
    time = _text(record, "time")[:23]
    if record.get("event") != CALL:
        said = ", ".join(f"{key}={value}" for key, value in record.items() if key not in _LINKS)
        return time, _text(record, "event"), "", said[:MAX_DETAIL_CHARACTERS], "", ""
    who = _text(record, "subject") or _text(record, "workload") or "nobody"
    outcome = f"{_text(record, 'code')} {_text(record, 'reason')}".rstrip()
    return time, _text(record, "method"), who, outcome, _text(record, "tenant"), _text(record, "call_id")


def _text(record: Mapping[str, Any], key: str) -> str:
    return str(record.get(key, ""))


def _fits(wanted: str, *texts: str) -> bool:
    return not wanted or any(fnmatchcase(text, wanted) for text in texts)
