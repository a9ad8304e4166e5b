"""What is counted of calls. The series of a method are looked up when the method is bound, not at each call."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from secure_rpc.method import Method
from secure_rpc.telemetry.durations import DurationHistogram, Durations

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNKNOWN_METHOD = "other"  # gRFC A66: what is no method of ours counts as one
OTHER_REASON = "OTHER"
MAX_REASONS = 128  # of one service: handlers give reasons of their own, and one of them may hold an order's number
REPLAYED = "REPLAYED"
MTLS_REASONS = ("CERTIFICATE_", "SPIFFE_ID_", "TRUST_DOMAIN_")  # with what they begin


class BoundedLabel:
    """The values of a label, as many as may be; what comes after those counts as another.

    Args:
        most: how many.
        other: stands for the rest.
    """

    def __init__(self, most: int, other: str) -> None:
        self._most = most
        self._other = other
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value to count by."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return self._other
            self._known.add(value)
        return value


class CallMetrics:
    """The numbers of calls.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter(
            "grpc_server_call_started", "Calls that have begun, by method.", ("grpc_method",), registry=registry
        )
        self.duration = DurationHistogram(
            "grpc_server_call_duration_seconds",
            "Time from the first byte of a call to its end, by outcome.",
            ("grpc_method", "grpc_status"),
            registry=registry,
            buckets=SECONDS,
        )
        self.in_flight = Gauge(
            "secure_rpc_calls_in_flight",
            "Calls that have begun and not ended.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.ended = Counter(
            "secure_rpc_calls_ended", "Calls that have ended, as the kernel counts them.", registry=registry
        )
        self.refusals = Counter(
            "secure_rpc_refusals",
            "Calls that ended otherwise than well, by status and by the reason that was given.",
            ("grpc_method", "grpc_status", "reason"),
            registry=registry,
        )
        self.replays = Counter(
            "secure_rpc_replays_detected",
            "Calls that had been made before, and were refused for it.",
            registry=registry,
        )
        self.streams_ended = Counter(
            "secure_rpc_streams_ended_by_auth",
            "Streams that had begun, and were ended since their caller was not believed or allowed any more.",
            ("grpc_method",),
            registry=registry,
        )
        self._reason = BoundedLabel(MAX_REASONS, OTHER_REASON)
        self._ended: Callable[[], int] = int
        self._ended_before = 0
        self._of: dict[str, MethodMetrics] = {}

    def of(self, method: Method) -> MethodMetrics:
        """Return the numbers of a method."""
        found = self._of.get(method.path)
        if found is None:
            found = self._of[method.path] = MethodMetrics(self, method)
        return found

    def refused(self, label: str, code: str, reason: str) -> Counter:
        """Return the counter of calls that ended so.

        Args:
            label: of the method.
            code: the name of the status.
            reason: as the platform or a handler gave it, "" for none.
        """
        return self.refusals.labels(label, code, self._reason(reason or code))

    def ended_are(self, count: Callable[[], int]) -> None:
        """Say who knows how many calls have ended since the start."""
        self._ended = count

    def refresh(self) -> None:
        """Bring what was counted without the registry into it."""
        ended = self._ended()
        self.ended.inc(ended - self._ended_before)
        self._ended_before = ended
        for each in self._of.values():
            each.refresh()


class MethodMetrics:
    """The numbers of one method.

    Args:
        metrics: of all.
        method: which; every method that does not exist is one.
    """

    __slots__ = ("_durations", "_label", "_metrics", "_refusals", "_started", "_started_before", "_streams", "started")

    def __init__(self, metrics: CallMetrics, method: Method) -> None:
        self._metrics = metrics
        self._label = label = method_label(method.path)
        self._started = metrics.started.labels(label)
        self._durations: dict[str, Durations] = {}
        self._refusals: dict[tuple[str, str], Counter] = {}
        lasts = bool(method.path) and (method.request_streaming or method.response_streaming)
        self._streams = metrics.streams_ended.labels(label) if lasts else None  # zeros show before the first
        self.started = self._started_before = 0  # calls, counted at the price of an addition

    def ended(self, code: str, duration_seconds: float, trace_id: str = "") -> None:
        """Count a call.

        Args:
            code: the name of the status that it ended with.
            duration_seconds: how long it took.
            trace_id: of the trace that was kept of it, the histogram's exemplar; "" where none was.
        """
        durations = self._durations.get(code)
        if durations is None:
            durations = self._durations[code] = self._metrics.duration.counted(self._label, code)
        durations.add(duration_seconds, trace_id)

    def refused(self, code: str, reason: str, *, ended_by_auth: bool = False) -> None:
        """Count a call that did not end well.

        Args:
            code: the name of the status.
            reason: as the platform or a handler gave it, "" for none.
            ended_by_auth: whether it was a stream that had begun, and its caller is not let in any more.
        """
        counter = self._refusals.get((code, reason))
        if counter is None:
            counter = self._metrics.refused(self._label, code, reason)
            if len(self._refusals) < MAX_REASONS:
                self._refusals[code, reason] = counter
        counter.inc()
        if reason == REPLAYED:
            self._metrics.replays.inc()
        if ended_by_auth and self._streams is not None:
            self._streams.inc()

    def refresh(self) -> None:
        """Bring what was counted without the registry into it."""
        self._started.inc(self.started - self._started_before)
        self._started_before = self.started


def method_label(path: str) -> str:
    """Return what a method is called in labels: its full name without the slash in front (gRFC A66)."""
    return path[1:] or UNKNOWN_METHOD
