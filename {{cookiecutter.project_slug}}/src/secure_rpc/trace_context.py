"""What a call is known by: its own id, and the trace that it is part of (W3C Trace Context, W3C Baggage)."""

from __future__ import annotations

import itertools
import random
import re
import secrets
from collections.abc import Collection
from typing import Any

TRACEPARENT, TRACESTATE, BAGGAGE = "traceparent", "tracestate", "baggage"
MAX_STATE_CHARACTERS = 512  # W3C Trace Context, section 3.3.1.5
MAX_BAGGAGE_BYTES = 1024
MAX_BAGGAGE_ENTRIES = 16
SAMPLED = 1

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?", re.ASCII)
_TEXT = re.compile(r"[ -~]*", re.ASCII)
_PROCESS = secrets.token_hex(6)  # tells the calls of one process from those of another
_numbers = itertools.count(1)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


def new_call_id() -> str:
    """Return an id for a call; unique, and no secret."""
    return f"{_PROCESS}-{next(_numbers):x}"


class Trace:
    """A trace: what came with the call, or was made for it, and whether it is kept.

    Args:
        trace_id: 32 hexadecimal digits; "" for one to be made when it is asked for.
        span_id: of the caller's span, 16 hexadecimal digits; "" where the trace begins here.
        flags: two hexadecimal digits.
        state: what tracing systems of others have added.
        baggage: what is handed on with it; "" where that is not wanted.
    """

    __slots__ = ("_trace_id", "baggage", "flags", "span", "span_id", "state", "steps", "token")

    def __init__(
        self, trace_id: str = "", span_id: str = "", flags: str = "00", state: str = "", baggage: str = ""
    ) -> None:
        self._trace_id = trace_id
        self.span_id = span_id  # of the span that calls made from here are children of
        self.flags = flags
        self.state = state
        self.baggage = baggage
        self.span: Any = None  # where the trace is kept
        self.token: Any = None  # undoes that the span is the current one
        self.steps: list[Step] | None = None  # where the trace is kept

    @property
    def trace_id(self) -> str:
        """Return its name."""
        if not self._trace_id:
            self._trace_id = f"{random.getrandbits(128) or 1:032x}"  # a name, no secret
        return self._trace_id

    @property
    def known_id(self) -> str:
        """Return its name where anybody has heard of it, else ""."""
        return self._trace_id

    @property
    def is_root(self) -> bool:
        """Tell whether it begins with this call."""
        return not self.span_id

    @property
    def is_sampled_by_caller(self) -> bool:
        """Tell whether those before have kept their part of it."""
        return bool(int(self.flags, 16) & SAMPLED)

    def headers(self) -> list[tuple[str, str]]:
        """Return what a call carries that is made on behalf of this one."""
        span_id = self.span_id or f"{random.getrandbits(64) or 1:016x}"
        found = [(TRACEPARENT, f"00-{self.trace_id}-{span_id}-{self.flags}")]
        if self.state:
            found.append((TRACESTATE, self.state))
        if self.baggage:
            found.append((BAGGAGE, self.baggage))
        return found


class Step:
    """One thing that a call went through. Times are by `time.perf_counter`, in seconds."""

    __slots__ = ("began", "ended", "failure", "name")

    def __init__(self, name: str, began: float) -> None:
        self.name = name
        self.began = began
        self.ended = 0.0
        self.failure = ""


def follow(metadata: Collection[tuple[str, str | bytes]], *, with_baggage: bool = False) -> Trace | None:
    """Return the trace that a call says it is part of; None where it says none, or says it wrongly.

    Args:
        metadata: of the call.
        with_baggage: whether baggage is handed on; what is too much of it is dropped as a whole.
    """
    for key, _ in metadata:
        if key == TRACEPARENT:
            return _followed(metadata, with_baggage=with_baggage)
    return None  # as for most calls, which pay for no more than the look


def _followed(metadata: Collection[tuple[str, str | bytes]], *, with_baggage: bool) -> Trace | None:
    parent = state = baggage = ""
    for key, value in metadata:
        if key == TRACEPARENT:
            if parent or not isinstance(value, str):
                return None  # which one counts would be a guess (section 3.2)
            parent = value
        elif key == TRACESTATE and isinstance(value, str):
            state = f"{state},{value}" if state else value
        elif with_baggage and key == BAGGAGE and isinstance(value, str):
            baggage = f"{baggage},{value}" if baggage else value
    found = _PARENT.fullmatch(parent) if parent else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    if len(state) > MAX_STATE_CHARACTERS or not _TEXT.fullmatch(state):
        state = ""
    if len(baggage) > MAX_BAGGAGE_BYTES or baggage.count(",") >= MAX_BAGGAGE_ENTRIES or not _TEXT.fullmatch(baggage):
        baggage = ""
    return Trace(trace_id, span_id, flags, state, baggage)
