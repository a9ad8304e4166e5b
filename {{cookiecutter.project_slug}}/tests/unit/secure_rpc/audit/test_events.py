"""Events are few, however often something happens, and say what has changed."""

from __future__ import annotations

from typing import Any

import pytest

from secure_rpc.audit.events import MAX_NAMED, Events, Handshakes, versions

from support.clocks import Clock


class Noted(list[dict[str, Any]]):
    """What was recorded."""

    def note(self, event: str, **fields: Any) -> None:
        self.append({"event": event, **fields})


@pytest.fixture
def noted() -> Noted:
    return Noted()


def test_what_stays_refused_is_told_once_a_minute_and_counted(noted: Noted) -> None:
    clock = Clock(0.0)
    events = Events(noted.note, clock)
    for _ in range(121):
        events.reloaded("api_keys", good=False)
        clock.pass_(1)
    assert noted == [
        {"event": "api_keys_reloaded", "result": "refused"},
        {"event": "api_keys_reloaded", "result": "refused", "unsaid": 59},
        {"event": "api_keys_reloaded", "result": "refused", "unsaid": 59},
    ]
    events.reloaded("api_keys", good=True)
    events.reloaded("api_keys", good=False)
    assert [event["result"] for event in noted[3:]] == ["ok", "refused"]


def test_a_long_list_of_revocations_is_counted_and_its_beginning_named(noted: Noted) -> None:
    Events(noted.note).revoked("shared", {("subject", "iss", f"user-{number:03}") for number in range(200)})
    [event] = noted
    assert (event["count"], len(event["named"])) == (200, MAX_NAMED)
    assert event["named"][0] == {"kind": "subject", "issuer": "iss", "name": "user-000"}


def test_a_flood_of_failed_handshakes_is_one_event(noted: Noted) -> None:
    counts = {"expired": 0, "untrusted": 0}
    handshakes = Handshakes(noted.note, lambda: counts)
    handshakes.tell(60)
    assert noted == []
    counts["expired"] = 1_000_000
    handshakes.tell(60)
    counts["untrusted"] = 2
    handshakes.tell(60)
    assert [event["failed"] for event in noted] == [{"expired": 1_000_000}, {"untrusted": 2}]


def test_a_library_that_is_not_there_is_of_unknown_version() -> None:
    assert versions(["no-such-library"])["no-such-library"] == "unknown"
