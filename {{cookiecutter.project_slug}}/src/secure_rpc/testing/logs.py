"""Logging is the process's: what a test does to it must not reach the next one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


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
