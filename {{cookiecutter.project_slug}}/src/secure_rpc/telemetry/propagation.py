"""Calls that are made on behalf of another are part of its trace."""

from __future__ import annotations

import sys
from typing import Any

from secure_rpc.call import current_call
from secure_rpc.trace_context import TRACEPARENT, Trace


def outgoing(metadata: Any) -> Any:
    """Return the metadata of a call with the trace that it is part of; what its maker has set himself stays.

    Args:
        metadata: as gRPC takes it, None for none.
    """
    headers = _headers()
    if not headers or any(key.lower() == TRACEPARENT for key, _ in metadata or ()):
        return metadata
    return (*(metadata or ()), *headers)


def _headers() -> list[tuple[str, str]]:
    try:
        call = current_call()
        trace = call.trace if call.is_under_way else None
    except LookupError:
        trace = None
    if trace is not None and trace.span is None:
        return trace.headers()
    otel: Any = sys.modules.get("opentelemetry.trace")  # who has not imported it has no span of its own
    if otel is None:
        return []
    context = otel.get_current_span().get_span_context()
    if not context.is_valid:
        return trace.headers() if trace is not None else []
    return Trace(
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{context.trace_flags:02x}",
        context.trace_state.to_header(),
        trace.baggage if trace is not None else "",
    ).headers()
