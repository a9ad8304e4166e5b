"""What of a call is written, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from secure_rpc.audit.record import content_of, timestamp
from secure_rpc.call import Principal
from secure_rpc.observing import CallRecord

MakeRecord = Callable[..., CallRecord]


def test_a_record_says_who_did_what_to_whose_data_and_how_it_ended(record: MakeRecord) -> None:
    assert content_of(record(7, fields=(("title", "a book"),), policy="0123abcd")) == {
        "event": "call",
        "time": "2026-01-01T00:00:00.500000+00:00",
        "call_id": "call-7",
        "method": "/things.v1.Things/Get",
        "kind": "unary",
        "code": "OK",
        "reason": "",
        "workload": "spiffe://example.org/a",
        "issuer": "https://issuer.example.org",
        "subject": "alice",
        "proofs": ("token",),
        "tenant": "acme",
        "rule": "bindings[0] reader",
        "policy": "0123abcd",
        "peer": "ipv4:127.0.0.1:1",
        "duration_us": 1500,
        "fields": {"title": "a book"},
        "trace_id": "",
    }


def test_a_refused_caller_is_recorded_by_its_workload(record: MakeRecord) -> None:
    written = content_of(record(principal=None))
    assert (written["workload"], written["subject"], written["proofs"]) == ("spiffe://example.org/a", "", ())


def test_no_claim_is_written(record: MakeRecord) -> None:
    principal = Principal(subject="alice", claims={"email": "alice@example.org"})
    assert "alice@example.org" not in str(content_of(record(principal=principal)))


@given(st.floats(min_value=0, max_value=4e9))
def test_a_time_is_written_to_the_microsecond(seconds: float) -> None:
    written = timestamp(seconds)
    assert abs(datetime.fromisoformat(written) - datetime.fromtimestamp(seconds, UTC)) <= timedelta(microseconds=1)
    assert len(written) == len("2026-01-01T00:00:00.500000+00:00")
