"""Log lines are JSON objects of one shape, or text for people; secrets stand in neither."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
import pytest
import structlog

from secure_rpc.telemetry.logging import Line, LogFormat, configure, log_together
from secure_rpc.telemetry.redaction import REDACTED, SECRET_KEYS

from support.logs import ORIGIN, lines_of

SECRET = "hunter2"  # noqa: S105  # what may stand in no line


def json_of(write: Callable[[], object]) -> dict[str, Any]:
    [line] = lines_of(write)
    content: dict[str, Any] = orjson.loads(line)
    return content


def test_a_line_is_one_json_object_that_says_what_when_and_where() -> None:
    line = json_of(lambda: structlog.get_logger("a").info("served", code="OK", latency_ms=1.5))
    timestamp = line.pop("timestamp")
    assert timestamp.endswith("Z")
    assert line == {
        "service": "orders",
        "environment": "test",
        "deployment_id": "d-1",  # the cluster is not set, so it is not said
        "event": "served",
        "level": "info",
        "code": "OK",
        "latency_ms": 1.5,
    }


def test_lines_of_the_standard_library_have_the_same_shape() -> None:
    line = json_of(lambda: logging.getLogger("some.library").warning("it is %s", "late"))
    assert (line["event"], line["level"], line["logger"]) == ("it is late", "warning", "some.library")
    assert (line["service"], line["environment"]) == ("orders", "test")
    assert "timestamp" in line


def test_an_exception_stands_in_its_line() -> None:
    def fail() -> None:
        try:
            int("broken")
        except ValueError:
            structlog.get_logger("a").exception("failed")

    line = json_of(fail)
    assert line["level"] == "error"
    assert "Traceback" in line["exception"]
    assert line["exception"].endswith("'broken'")


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize("key", sorted(SECRET_KEYS))
def test_the_values_of_secret_keys_are_taken_out(log_format: LogFormat, key: str) -> None:
    [line] = lines_of(lambda: structlog.get_logger("a").info("asked", **{key: SECRET}), log_format=log_format)
    assert REDACTED in line
    assert SECRET not in line


def test_secrets_are_taken_out_however_they_are_written_and_however_deep() -> None:
    line = json_of(
        lambda: structlog.get_logger().info("x", Authorization="s3cret", headers={"inner": {"Cookie": "s3cret"}})
    )
    assert line["Authorization"] == REDACTED
    assert line["headers"] == {"inner": {"Cookie": REDACTED}}


def test_secrets_bound_to_a_context_are_taken_out_too() -> None:
    with structlog.contextvars.bound_contextvars(authorization=SECRET, call_id="c-1"):
        line = json_of(lambda: structlog.get_logger("a").info("asked"))
    assert (line["authorization"], line["call_id"]) == (REDACTED, "c-1")


def test_a_line_may_say_itself_where_it_comes_from() -> None:
    assert json_of(lambda: structlog.get_logger("a").info("asked", service="another"))["service"] == "another"


@pytest.mark.parametrize(
    "value", ["\ud800", 2**70, {1: "a"}, b"\xff", object(), float("nan"), 'a"\n\x1b[31m', {"a", "b"}, ValueError("x")]
)
def test_no_value_costs_the_line(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    line = json_of(lambda: structlog.get_logger("a").info("asked", value=value))
    assert line["event"] == "asked"
    assert "value" in line
    assert capsys.readouterr().err == ""  # where logging tells of lines that it could not write


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("error", 1), ("critical", 0)])
def test_less_than_the_level_is_not_logged(level: str, count: int) -> None:
    def write() -> None:
        log = structlog.get_logger("a")
        log.debug("one")
        log.info("two")
        log.error("three")

    assert len(lines_of(write, level=level)) == count


def test_the_admin_ports_comings_and_goings_are_not_logged() -> None:
    assert lines_of(lambda: logging.getLogger("uvicorn.error").info("started")) == []
    assert len(lines_of(lambda: logging.getLogger("uvicorn.error").warning("trouble"))) == 1


def test_people_get_text_without_colours_where_there_is_no_terminal() -> None:
    [line] = lines_of(lambda: structlog.get_logger("a").info("served", code="OK"), log_format=LogFormat.CONSOLE)
    assert "served" in line
    assert "code=OK" in line
    assert "\x1b" not in line
    assert "deployment_id" not in line


def test_configuring_twice_does_not_double_the_lines() -> None:
    configure(LogFormat.JSON, "info", ORIGIN, io.StringIO())
    assert len(lines_of(lambda: logging.getLogger("a").info("once"))) == 1


# --- lines that come together ------------------------------------------------------------------------------------

TOKEN = "eyJ" + "hbGci" * 4  # as a token begins
TOGETHER = [
    Line(logging.INFO, "call", {"method": "/a.B/C", "reason": "", "latency_ms": 1.5}),
    Line(logging.WARNING, "call", {"method": f"/a.B/{TOKEN}", "token": "t", "deep": {"password": "p"}}),
    Line(logging.ERROR, "call", {"method": "/a.B/\ud800", "huge": 2**70}),
]


def one_by_one(lines: list[Line]) -> None:
    for level, event, fields in lines:
        structlog.get_logger("calls").log(level, event, **fields)


def without_time(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(datetime.fromisoformat(line.pop("timestamp")) for line in lines)
    return lines


@pytest.mark.parametrize("level", ["debug", "warning", "error"])
def test_lines_that_come_together_are_what_they_would_be_alone(level: str) -> None:
    alone, together = io.StringIO(), io.StringIO()
    configure(LogFormat.JSON, level, {"service": "things", "cluster": "c"}, alone)
    one_by_one(TOGETHER)
    configure(LogFormat.JSON, level, {"service": "things", "cluster": "c"}, together)
    log_together("calls", TOGETHER)
    assert without_time(together.getvalue()) == without_time(alone.getvalue()) != []
    assert [list(line) for line in map(json.loads, together.getvalue().splitlines())] == [
        list(line) for line in map(json.loads, alone.getvalue().splitlines())
    ]
    assert TOKEN not in together.getvalue()


def test_lines_that_come_together_are_written_at_once() -> None:
    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counting()
    configure(LogFormat.JSON, "info", {}, stream)
    log_together("calls", TOGETHER)
    assert (stream.writes, len(stream.getvalue().splitlines())) == (1, len(TOGETHER))


@pytest.mark.parametrize("name", ["a.calls", "a", None])
def test_whoever_listens_to_logs_hears_of_lines_that_come_together(name: str | None) -> None:
    heard: list[logging.LogRecord] = []
    stream = io.StringIO()
    configure(LogFormat.JSON, "info", {}, stream)
    listener = logging.NullHandler()
    listener.handle = heard.append  # type: ignore[assignment,method-assign]
    logging.getLogger(name).addHandler(listener)
    try:
        log_together("a.calls", TOGETHER)
    finally:
        logging.getLogger(name).removeHandler(listener)
    assert len(heard) == len(TOGETHER) == len(stream.getvalue().splitlines())


@pytest.mark.parametrize("name", ["a.calls", "a"])
def test_lines_that_come_together_are_not_written_where_logging_is_told_so(name: str) -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, "info", {}, stream)
    logging.getLogger(name).propagate = False
    try:
        log_together("a.calls", TOGETHER)
    finally:
        logging.getLogger(name).propagate = True
    assert stream.getvalue() == ""


def test_people_get_lines_that_come_together_as_text() -> None:
    stream = io.StringIO()
    configure(LogFormat.CONSOLE, "info", {}, stream)
    log_together("calls", TOGETHER[:1])
    assert "/a.B/C" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_lines_that_cannot_be_written_end_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, "info", {}, stream)
    stream.close()
    log_together("calls", TOGETHER)
    assert "Logging error" in capsys.readouterr().err
