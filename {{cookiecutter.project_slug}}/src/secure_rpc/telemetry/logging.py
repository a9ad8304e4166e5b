"""Structured logs by structlog: one JSON object a line, or colours for people. The standard library's logs join in."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from secure_rpc.telemetry.redaction import REDACTED, is_secret, scrub, without_secrets

SCHEMA = Path(__file__).with_name("log.schema.json")  # of a line in JSON

_PLAIN = frozenset({str, int, float, bool, type(None)})
_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


class LogFormat(Enum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


def configure(log_format: LogFormat, level: str, fields: Mapping[str, str], stream: TextIO = sys.stdout) -> None:
    """Set up structlog and the standard library's logging, once for the process.

    Args:
        log_format: JSON for machines, console for people.
        level: the least that is logged, such as "info".
        fields: what each line says of its origin: service, cluster, deployment.
        stream: where the lines go.
    """
    global _together  # noqa: PLW0603  # as the standard library's logging: one for the process
    constant = {key: value for key, value in fields.items() if value}

    def add_origin(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        return {**constant, **event}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _stamp,
        structlog.processors.StackInfoRenderer(),
        redact,
    ]
    renderer: Processor
    if log_format is LogFormat.JSON:
        shared += [add_origin, structlog.processors.format_exc_info]
        renderer = structlog.processors.JSONRenderer(serializer=_to_json)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Scrubbed(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    _together = _Together(handler, constant) if log_format is LogFormat.JSON else None
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # what no line of ours shows, and each would pay for: thread, process and place (Logging HOWTO, "Optimization")
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  # the HOWTO's own word for it
    logging.getLogger("uvicorn").setLevel(max(root.level, logging.WARNING))  # the admin port's comings and goings
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class Line(NamedTuple):
    """A line that is to be logged."""

    level: int  # of the standard library's, such as logging.WARNING
    event: str
    fields: dict[str, Any]


def log_together(name: str, lines: Sequence[Line]) -> None:
    """Log lines of one logger that come together, each as structlog would: at a fraction of the cost where it can be.

    Args:
        name: of the logger.
        lines: in order.
    """
    if _together is not None and _together.is_alone(name):
        _together.write(name, lines)
        return
    logger = structlog.get_logger(name)
    for level, event, fields in lines:
        logger.log(level, event, **fields)


class _Together:
    """Makes lines of JSON without the steps that a line takes that may come from anybody, and writes them at once.

    Args:
        handler: that writes all other lines.
        constant: what each line says of its origin.
    """

    def __init__(self, handler: logging.StreamHandler[TextIO], constant: Mapping[str, str]) -> None:
        self._handler = handler
        self._constant = constant

    def is_alone(self, name: str) -> bool:
        """Tell whether nobody but our handler would be told of a line of that logger."""
        logger = logging.getLogger(name)
        while logger.parent is not None:
            if logger.handlers or logger.filters or not logger.propagate:
                return False
            logger = logger.parent
        return logger.handlers == [self._handler] and not self._handler.filters

    def write(self, name: str, lines: Sequence[Line]) -> None:
        """Write those of the lines that are to be logged."""
        logger = logging.getLogger(name)
        now: EventDict = _stamp(None, "", {})
        text = "".join(self._text(line, now) for line in lines if logger.isEnabledFor(line.level))
        if not text:
            return
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(text)
            handler.flush()
        except Exception:  # noqa: BLE001  # as for each handler, what becomes of a line that cannot be written is logging's matter
            handler.handleError(logging.makeLogRecord({"name": name, "msg": "%d lines", "args": (len(lines),)}))
        finally:
            handler.release()

    def _text(self, line: Line, now: EventDict) -> str:
        level = logging.getLevelName(line.level).lower()
        event = redact(None, "", {**self._constant, **line.fields, "event": line.event, "level": level})
        return scrub(_to_json({**event, **now})) + "\n"


_together: _Together | None = None


def redact(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Take the values out of keys that hold secrets, whoever logged them, however deep."""
    for key, value in event.items():
        if is_secret(key):
            event[key] = REDACTED
        elif type(value) not in _PLAIN and key != "exc_info":  # that becomes text later
            event[key] = without_secrets(key, value)
    return event


class _Scrubbed(structlog.stdlib.ProcessorFormatter):
    """Looks at the whole text of a line once more, tracebacks and those of other libraries included."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


def _to_json(event: EventDict, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except TypeError:  # a lone surrogate, a number of more than 64 bits: a line must not be lost for that
        return json.dumps(event, default=repr, ensure_ascii=False).encode("utf-8", "replace").decode()
