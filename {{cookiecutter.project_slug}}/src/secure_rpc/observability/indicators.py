"""The indicators: what is bad, of how many, in Prometheus' language; each has an objective of the same name."""

from __future__ import annotations

from dataclasses import dataclass

from secure_rpc.observability.objectives import Promises


@dataclass(frozen=True, slots=True)
class Indicator:
    """What is bad, of how many.

    `WINDOW` stands for a duration in both, `JOB` for the selector of the service's series.
    """

    name: str
    title: str
    bad: str
    total: str
    by: tuple[str, ...] = ()  # further labels that it is told apart by


INDICATORS = (
    Indicator(
        "availability",
        "calls that ended by a fault of ours",
        'rate(grpc_server_call_duration_seconds_count{JOB,grpc_status=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE"}[WINDOW])',
        "rate(grpc_server_call_duration_seconds_count{JOB}[WINDOW])",
    ),
    Indicator(
        "auth_latency",
        "callers who waited over 100 ms to be known",
        "(rate(secure_rpc_auth_duration_seconds_count{JOB}[WINDOW])"
        ' - ignoring (le) rate(secure_rpc_auth_duration_seconds_bucket{JOB,le="0.1"}[WINDOW]))',
        "rate(secure_rpc_auth_duration_seconds_count{JOB}[WINDOW])",
    ),
    Indicator(
        "tls_handshakes",
        "TLS handshakes that failed",
        "rate(grpc_server_tls_handshake_failures_total{JOB}[WINDOW])",
        "rate(grpc_server_tls_handshakes_started_total{JOB}[WINDOW])",
    ),
    Indicator(
        "client_certificates",
        "client certificates that were refused",
        "rate(secure_rpc_mtls_failures_total{JOB}[WINDOW])",
        "rate(grpc_server_tls_handshakes_started_total{JOB}[WINDOW])",
    ),
    Indicator(
        "tokens",
        "tokens and API keys that were not believed",
        "rate(secure_rpc_token_validation_failures_total{JOB}[WINDOW])",
        "rate(secure_rpc_token_validations_total{JOB}[WINDOW])",
    ),
    Indicator(
        "refusals",
        "calls that were refused to their caller, by method",
        'rate(grpc_server_call_duration_seconds_count{JOB,grpc_status=~"UNAUTHENTICATED|PERMISSION_DENIED"}[WINDOW])',
        "rate(grpc_server_call_duration_seconds_count{JOB}[WINDOW])",
        by=("grpc_method",),
    ),
    Indicator(
        "audit",
        "calls that have no record",
        "(rate(secure_rpc_calls_ended_total{JOB}[WINDOW]) - rate(secure_rpc_audit_records_total{JOB}[WINDOW]) > 0)",
        "rate(secure_rpc_calls_ended_total{JOB}[WINDOW])",
    ),
)


def recorded(indicator: Indicator, window: str) -> str:
    """Return the name under which the ratio of an indicator is recorded (level:metric:operation)."""
    return f"{'_'.join(('job', *indicator.by))}:secure_rpc_{indicator.name}:bad_ratio_rate{window}"


def ratio(indicator: Indicator, window: str, promises: Promises) -> str:
    """Return the expression of the share that is bad; where nothing is counted there is no series, and nothing bad."""
    labels = ", ".join(("job", *indicator.by))
    bad, total = (written(text, window, promises) for text in (indicator.bad, indicator.total))
    zero = f"sum by ({labels}) ({total}) * 0"
    return f"(sum by ({labels}) ({bad}) or {zero})\n/\n(sum by ({labels}) ({total}) > 0)"


def written(text: str, window: str, promises: Promises) -> str:
    """Return an expression with its window and the service's selector."""
    return text.replace("WINDOW", window).replace("JOB", f'job="{promises.job}"')


def budget(indicator: Indicator, promises: Promises) -> float:
    """Return the share that may be bad."""
    objective: float = getattr(promises.objectives, indicator.name)
    return round(1 - objective / 100, 9)
