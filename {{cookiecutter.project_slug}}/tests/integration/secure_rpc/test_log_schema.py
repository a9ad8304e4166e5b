"""Every line that a real service writes is of the shape that is published, and calls have all that it promises."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from secure_rpc.platform import Application
from secure_rpc.telemetry.logging import SCHEMA

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.processes import serve_process
from support.world import ending

ORIGIN = {"environment": "test", "cluster": "eu-1", "deployment_id": "d-7"}
schema = orjson.loads(SCHEMA.read_bytes())
validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


async def test_the_lines_of_a_service_are_as_published(application: Application, tmp_path: Path) -> None:
    async with serve_process(application, tmp_path, {"service": ORIGIN}) as served:
        for caller in ("alice", "mallory", ""):
            channel = await served.channel(caller)
            stub: Any = probe_pb2_grpc.ProbeServiceStub(channel)
            await ending(stub.Unary(pb.Ask(act="raise_an_error" if caller == "alice" else "anything"), timeout=10))
            await ending(stub.ServerStream(pb.Ask(act="anything", count=2), timeout=10))
            unknown: Any = channel.unary_unary("/no.such.Service/Method")
            await ending(unknown(b"", timeout=10))
        await served.process.line("call", count=9)
        served.signal(signal.SIGTERM)
        assert await served.process.ended() == 0
        lines = served.process.lines
    assert served.process.text == []
    assert [list(validator.iter_errors(line)) for line in lines] == [[]] * len(lines)
    calls = [line for line in lines if line["event"] == "call"]
    assert {line["code"] for line in calls} == {
        "OK",
        "INTERNAL",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
    }
    assert all({key: line[key] for key in ORIGIN} == ORIGIN for line in calls)
    assert {line["principal"] for line in calls} == {"alice", "mallory", ""}
    assert any("exception" in line for line in lines)


@pytest.mark.parametrize("field", schema["then"]["required"])
def test_a_call_without_a_field_would_be_found(field: str) -> None:
    line = {
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "level": "info",
        "event": "call",
        "service": "probe",
        "method": "/a.B/C",
        "kind": "unary",
        "code": "OK",
        "latency_ms": 1.5,
        "call_id": "c-1",
        **dict.fromkeys(("reason", "principal", "workload", "tenant", "rule", "peer", "trace_id"), ""),
    }
    assert validator.is_valid(line)
    del line[field]
    assert not validator.is_valid(line)
    assert validator.is_valid({**line, "event": "serving"})
