"""What callers say of traces is taken where it is as the W3C has it, and not otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_rpc.trace_context import MAX_BAGGAGE_BYTES, MAX_BAGGAGE_ENTRIES, MAX_STATE_CHARACTERS, Trace, follow

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOUND = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_a_trace_is_followed() -> None:
    trace = follow([("authorization", "x"), ("traceparent", SOUND), ("tracestate", "a=1"), ("tracestate", "b=2")])
    assert trace is not None
    assert (trace.trace_id, trace.span_id, trace.state) == (TRACE_ID, SPAN_ID, "a=1,b=2")
    assert (trace.is_root, trace.is_sampled_by_caller) == (False, True)
    assert trace.headers() == [("traceparent", SOUND), ("tracestate", "a=1,b=2")]


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_callers_decision_is_one_bit(flags: str, *, sampled: bool) -> None:
    trace = follow([("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-{flags}")])
    assert trace is not None
    assert trace.is_sampled_by_caller is sampled


def test_later_versions_may_say_more() -> None:
    assert follow([("traceparent", f"cc-{TRACE_ID}-{SPAN_ID}-01-more")]) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        SOUND.upper(),
        SOUND + "-more",
        SOUND + "\n",
        " " + SOUND,
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"00-{TRACE_ID}-{SPAN_ID}",
        SOUND.replace("4bf9", "\uff14bf9"),  # a digit of another script
    ],
)
def test_what_is_no_traceparent_is_passed_over(text: str) -> None:
    assert follow([("traceparent", text)]) is None


def test_of_two_none_counts() -> None:
    assert follow([("traceparent", SOUND), ("traceparent", SOUND)]) is None
    assert follow([("traceparent", SOUND.encode())]) is None


@pytest.mark.parametrize("state", ["a=" + "1" * MAX_STATE_CHARACTERS, "a=\n1", "a=é"])
def test_a_state_that_is_too_long_or_no_text_is_dropped_alone(state: str) -> None:
    trace = follow([("traceparent", SOUND), ("tracestate", state)])
    assert trace is not None
    assert trace.state == ""


@pytest.mark.parametrize(
    ("baggage", "kept"),
    [
        ("a=1", True),
        (",".join("a=1" for _ in range(MAX_BAGGAGE_ENTRIES)), True),
        (",".join("a=1" for _ in range(MAX_BAGGAGE_ENTRIES + 1)), False),
        ("a" * (MAX_BAGGAGE_BYTES + 1), False),
        ("a=\x00", False),
    ],
)
def test_baggage_is_handed_on_up_to_some_size_and_only_where_that_is_wanted(baggage: str, *, kept: bool) -> None:
    metadata = [("traceparent", SOUND), ("baggage", baggage)]
    wanted, unwanted = follow(metadata, with_baggage=True), follow(metadata)
    assert wanted is not None
    assert unwanted is not None
    assert (wanted.baggage, unwanted.baggage) == (baggage if kept else "", "")


def test_a_trace_that_begins_here_has_one_name() -> None:
    trace = Trace()
    assert trace.is_root
    assert len(trace.trace_id) == 32
    assert trace.trace_id == trace.trace_id == trace.headers()[0][1].split("-")[1]
    followed = follow(trace.headers())
    assert followed is not None
    assert (followed.trace_id, followed.is_sampled_by_caller) == (trace.trace_id, False)


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "baggage", "x"]), st.text() | st.binary())))
def test_no_metadata_breaks_it(metadata: list[tuple[str, str | bytes]]) -> None:
    trace = follow(metadata, with_baggage=True)
    assert trace is None or follow(trace.headers()) is not None
