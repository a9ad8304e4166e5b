"""A collector of traces: takes them by OTLP/HTTP, and remembers their spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Span(NamedTuple):
    """What a test wants to know of a span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    state: str
    began: int
    ended: int
    attributes: dict[str, str]


class Collector:
    """What came.

    Args:
        port: on loopback.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        self.raw: list[bytes] = []  # each request as it came, unpacked
        self.status = 200  # what is answered
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = 0

    def named(self, name: str, service: str = "") -> list[Span]:
        """Return the spans of a name."""
        return [span for span in list(self.spans) if span.name == name and service in {"", span.service}]

    def children(self, parent: Span) -> dict[str, Span]:
        """Return what is part of a span, by name."""
        return {span.name: span for span in list(self.spans) if span.parent_id == parent.span_id}

    def take(self, body: bytes) -> None:
        """Remember a request."""
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_span(names["service.name"], span) for span in scope.spans]


def _span(service: str, span: Any) -> Span:
    attributes = {each.key: each.value.string_value for each in span.attributes}
    return Span(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.status.code,
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes,
    )


@contextmanager
def run_collector() -> Iterator[Collector]:
    """Run one in threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.asked += 1
            collector.may_answer.wait(10)
            if collector.status == 200 and self.path == "/v1/traces":
                collector.take(gzip.decompress(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(collector.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()
