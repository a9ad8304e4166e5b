"""What is logged, to be looked at."""

from __future__ import annotations

import io
from collections.abc import Callable

from secure_rpc.telemetry.logging import LogFormat, configure

ORIGIN = {"service": "orders", "environment": "test", "cluster": "", "deployment_id": "d-1"}


def lines_of(write: Callable[[], object], *, log_format: LogFormat = LogFormat.JSON, level: str = "info") -> list[str]:
    """Return what is logged meanwhile, a line each."""
    stream = io.StringIO()
    configure(log_format, level, ORIGIN, stream)
    write()
    return stream.getvalue().splitlines()
