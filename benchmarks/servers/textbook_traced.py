"""The textbook's interceptors behind OpenTelemetry's own; one call in a hundred is sampled, and its span dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_server_interceptor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from benchmarks.servers import textbook
from benchmarks.servers.common import run

if TYPE_CHECKING:
    import grpc

SAMPLED = 0.01


def make() -> grpc.aio.Server:
    """Return the server."""
    trace.set_tracer_provider(TracerProvider(sampler=ParentBased(TraceIdRatioBased(SAMPLED))))
    return textbook.make(outermost=(aio_server_interceptor(),))


def main() -> None:
    """Serve."""
    run(make)
