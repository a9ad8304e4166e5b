"""Spans on their way to a collector: a bounded queue, and a thread that sends what is in it by OTLP/HTTP.

Nothing here can hold up or fail a call. What cannot be sent is tried again a few times, then lost, and counted.
"""

from __future__ import annotations

import gzip
import logging
import ssl
import threading
from collections import deque
from collections.abc import Sequence

import httpx
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from secure_rpc.configuration import ConfigurationError
from secure_rpc.telemetry.encoding import SCOPE, Encoder, StepSpan
from secure_rpc.telemetry.tracing_metrics import TracingMetrics
from secure_rpc.telemetry.tracing_settings import Tracing

BATCH = 512  # spans of one request
INTERVAL_SECONDS = 1.0  # that a span may wait for others
TRIES = 3
PAUSE_SECONDS = 1.0  # before the second try; twice as long before each further one
TRY_AGAIN = frozenset({429, 502, 503, 504})  # OTLP/HTTP, "Failures"
JOIN_SECONDS = 5.0  # for the thread to send the rest when the service ends

logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request, at "info"
logger = logging.getLogger(__name__)


class SpanQueue(SpanProcessor):
    """Take spans that have ended, and send them.

    Args:
        settings: of tracing.
        metrics: what was sent and lost is counted there.

    Raises:
        ConfigurationError: a file for TLS cannot be read, or is no good.
    """

    def __init__(self, settings: Tracing, metrics: TracingMetrics) -> None:
        self._metrics = metrics
        self._endpoint = settings.otlp_endpoint
        self._size = settings.queue_size
        self._waiting: deque[ReadableSpan | StepSpan] = deque()
        self._encoder = Encoder(SCOPE)
        self._many = threading.Event()  # there is enough for a request, or it is time to end
        self._stopping = threading.Event()
        self._failing = False
        self._client = httpx.Client(
            verify=_tls(settings), timeout=settings.timeout_seconds, trust_env=False, follow_redirects=False
        )
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing yet."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that is kept."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.add(span)

    def add(self, span: ReadableSpan | StepSpan) -> None:
        """Take a span, or let go of it where too many wait."""
        if len(self._waiting) >= self._size:
            self._metrics.lost["queue_full"].inc()
            return
        self._waiting.append(span)
        if len(self._waiting) >= BATCH:
            self._many.set()

    def shutdown(self) -> None:
        """Send what waits, for as long as that may take, and end."""
        self._stopping.set()
        self._many.set()
        self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            self._metrics.lost["export_failed"].inc(len(self._waiting))
        self._client.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Have what waits be sent soon."""
        self._many.set()
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._many.wait(INTERVAL_SECONDS)
            self._many.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            try:
                self._send(batch)
            except Exception:
                self._metrics.lost["export_failed"].inc(len(batch))
                logger.exception("traces could not be encoded")

    def _send(self, batch: Sequence[ReadableSpan | StepSpan]) -> None:
        body = gzip.compress(self._encoder.encoded(batch).SerializeToString(), 1)
        problem = ""
        for number in range(TRIES):
            if number and self._stopping.wait(PAUSE_SECONDS * 2 ** (number - 1)):
                break
            try:
                headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
                answer = self._client.post(self._endpoint, content=body, headers=headers)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if answer.is_success:
                self._succeeded(batch, answer.content)
                return
            problem = f"it answered {answer.status_code}"
            if answer.status_code not in TRY_AGAIN:
                break
        self._metrics.lost["export_failed"].inc(len(batch))
        if not self._failing:  # said once, until it works again
            logger.warning("traces cannot be sent to %s, %d spans are lost: %s", self._endpoint, len(batch), problem)
        self._failing = True

    def _succeeded(self, batch: Sequence[ReadableSpan | StepSpan], content: bytes) -> None:
        self._failing = False
        rejected = 0
        try:
            rejected = ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans
        except Exception:  # noqa: BLE001  # a collector that says nothing of use has taken them all
            logger.debug("the collector's answer is no message of OTLP")
        self._metrics.lost["rejected"].inc(rejected)
        self._metrics.exported.inc(len(batch) - rejected)


def _tls(settings: Tracing) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"tracing: ca_file, certificate_file, key_file: no good for TLS ({error}); mount sound ones"
        ) from None
    return context
