"""Logging is the process's: what a test does to it must not reach the next one."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from secure_rpc.telemetry.logging import LogFormat, configure

ORIGIN = {"service": "orders", "environment": "test", "cluster": "", "deployment_id": "d-1"}


@contextmanager
def as_they_were() -> Iterator[None]:
    """Leave logging as it was found."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    handlers, level, uvicorn_level = root.handlers[:], root.level, uvicorn.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    uvicorn.setLevel(uvicorn_level)
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)


def lines_of(write: Callable[[], object], *, log_format: LogFormat = LogFormat.JSON, level: str = "info") -> list[str]:
    """Return what is logged meanwhile, a line each."""
    stream = io.StringIO()
    configure(log_format, level, ORIGIN, stream)
    write()
    return stream.getvalue().splitlines()
