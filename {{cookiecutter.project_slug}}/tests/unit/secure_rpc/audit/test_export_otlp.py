"""Records reach a collector of OpenTelemetry at least once, and how far they were sent is known, or told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.audit.export.exporter import Exporter, Positions
from secure_rpc.audit.export.otlp import Otlp
from secure_rpc.audit.export.sink import SinkUnavailable
from secure_rpc.audit.following import Position
from secure_rpc.audit.segments import closed_segments
from secure_rpc.configuration import ConfigurationError

from support.audit_logs import MakeRecord, written


class OtlpCollector:
    """An OTLP receiver that answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[tuple[int, bytes]] = []


@contextmanager
def otlp_server(collector: OtlpCollector) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = collector.answers.pop(0) if collector.answers else (200, b"{}")
            if status == 200 and b"rejected" not in answer:
                collector.requests.append({"path": self.path, "type": self.headers["content-type"], **json.loads(body)})
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/logs"
        finally:
            server.shutdown()
            thread.join()


def test_records_are_log_records_of_opentelemetry(tmp_path: Path, record: MakeRecord) -> None:
    log, collector = written(tmp_path / "audit.log", record, 0, 2), OtlpCollector()
    with otlp_server(collector) as url:
        exporter = Exporter(lambda: [log.path], Otlp(url, {"service.name": "things"}), Positions(tmp_path / "sent"))
        assert exporter.run(once=True) == 3
        exporter.close()
    [request] = collector.requests
    assert (request["path"], request["type"]) == ("/v1/logs", "application/json")
    [resource] = request["resourceLogs"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "things"}}]
    _, refused, good = resource["scopeLogs"][0]["logRecords"]
    assert (refused["severityText"], good["severityText"]) == ("WARN", "INFO")
    assert refused["timeUnixNano"] == "1767225600500000000"
    assert refused["eventName"] == "secure_rpc.audit.call"
    attributes = {each["key"]: each["value"] for each in refused["attributes"]}
    assert attributes["seq"] == {"intValue": "2"}
    assert attributes["chain"] == {"stringValue": log.chain_id}
    assert attributes["subject"] == {"stringValue": "alice"}
    assert refused["body"]["stringValue"].encode() == log.path.read_bytes().splitlines()[1]


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (503, b"", "answered 503"),
        (400, b"", "answered 400"),
        (200, b'{"partialSuccess":{"rejectedLogRecords":"2"}}', "rejected 2 of 3"),
    ],
)
def test_what_a_collector_did_not_take_is_sent_again(
    tmp_path: Path, record: MakeRecord, status: int, answer: bytes, told: str
) -> None:
    log, collector = written(tmp_path / "audit.log", record, 0, 2), OtlpCollector()
    collector.answers = [(status, answer)]
    with otlp_server(collector) as url:
        for _ in range(2):
            exporter = Exporter(lambda: [log.path], Otlp(url, {}), Positions(tmp_path / "sent"))
            if collector.answers:
                with pytest.raises(SinkUnavailable, match=told):
                    exporter.run(once=True)
            else:
                assert exporter.run(once=True) == 3
            exporter.close()
    assert len(collector.requests) == 1


# --- positions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"[]", b'{"audit.log":1}', b'{"audit.log":["a","b"]}'])
def test_positions_that_cannot_be_read_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sent").write_bytes(content)
    with pytest.raises(ConfigurationError, match="holds no positions; remove it, and all is sent again"):
        Positions(tmp_path / "sent")


def test_records_that_were_retired_unsent_are_told(
    tmp_path: Path, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    log, collector = written(tmp_path / "audit.log", record, 0, 40, rotate_bytes=4096), OtlpCollector()
    Positions(tmp_path / "sent").note({log.path: Position(log.chain_id, 1)})
    closed_segments(log.path)[0].path.unlink()
    with otlp_server(collector) as url:
        exporter = Exporter(lambda: [log.path], Otlp(url, {}), Positions(tmp_path / "sent"))
        exporter.run(once=True)
        exporter.close()
    assert "lines 2 to " in caplog.text
    assert "were retired before they were sent" in caplog.text
