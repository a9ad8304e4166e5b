"""The numbers are served in OpenMetrics, with labels that callers cannot multiply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secure_rpc.method import Method, Patience
from secure_rpc.telemetry.call_metrics import MAX_REASONS, SECONDS
from secure_rpc.telemetry.metrics import Metrics

C = grpc.StatusCode
METHOD = Method("/a.B/C", Patience(1))


def families(metrics: Metrics) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    text = metrics.render().decode()
    return {
        family.name: [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    }


def test_every_metric_is_there_before_anything_has_happened() -> None:
    assert set(families(Metrics())) == {
        "grpc_server_tls_handshakes_started",
        "grpc_server_tls_handshake_failures",
        "grpc_server_call_duration_seconds",
        "grpc_server_call_started",
        "process_cpu_seconds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "secure_rpc_auth_duration_seconds",
        "secure_rpc_build_info",
        "secure_rpc_calls_ended",
        "secure_rpc_event_loop_lag_seconds",
        "secure_rpc_mtls_failures",
        "secure_rpc_replays_detected",
        "secure_rpc_streams_ended_by_auth",
        "secure_rpc_spans_exported",
        "secure_rpc_spans_lost",
        "secure_rpc_traces_not_kept",
        "secure_rpc_token_validations",
        "secure_rpc_token_validation_failures",
        "secure_rpc_calls_in_flight",
        "secure_rpc_refusals",
        "secure_rpc_identity_cache_uses",
        "secure_rpc_issuer_key_fetches",
        "secure_rpc_issuer_keys_age_seconds",
        "secure_rpc_integrity_key_reloads",
        "secure_rpc_introspection_duration_seconds",
        "secure_rpc_api_key_file_failures",
        "secure_rpc_policy_reloads",
        "secure_rpc_policy_loaded_timestamp_seconds",
        "secure_rpc_policy_condition_failures",
        "secure_rpc_policy_shadow_differences",
        "secure_rpc_policy_rollout_percent",
        "secure_rpc_policy_rollbacks",
        "secure_rpc_quota_decisions_without_store",
        "secure_rpc_quota_round_trips",
        "secure_rpc_load_limit_calls",
        "secure_rpc_load_fair_limit_calls",
        "secure_rpc_load_lag_seconds",
        "secure_rpc_load_refusals",
        "secure_rpc_delayed_refusals",
        "secure_rpc_audit_archive_failures",
        "secure_rpc_idempotent_answers",
        "secure_rpc_audit_records",
        "secure_rpc_audit_sequence",
        "secure_rpc_audit_write_failures",
        "secure_rpc_certificate_not_after_timestamp_seconds",
        "secure_rpc_certificate_reloads",
        "secure_rpc_crl_next_update_timestamp_seconds",
        "secure_rpc_revocation_reloads",
        "secure_rpc_revocations",
        "secure_rpc_revocations_age_seconds",
        "secure_rpc_revocations_malformed",
        "secure_rpc_session_refreshes",
        "secure_rpc_sessions_live",
        "secure_rpc_store_failures",
        "secure_rpc_store_reachable",
        "secure_rpc_streams_ended",
        "secure_rpc_tls_key_exchange_groups",
    }


def test_every_metric_has_its_line_in_the_documentation() -> None:
    page = Path("docs/observability.md").read_text(encoding="utf-8")
    missing = [name for name in families(Metrics()) if f"`{name}`" not in page and f"`{name}_total`" not in page]
    assert missing == []


def test_every_metric_says_what_it_is() -> None:
    for family in text_string_to_metric_families(Metrics().render().decode()):  # type: ignore[no-untyped-call]
        assert family.documentation.endswith(".")
        assert family.type != "unknown"


def test_a_duration_is_counted_by_method_and_status() -> None:
    metrics = Metrics()
    counted = metrics.calls.of(METHOD)
    counted.ended("OK", 0.003)
    counted.ended("OK", 0.02)
    counted.ended("INTERNAL", 100)
    labels = {"grpc_method": "a.B/C", "grpc_status": "OK"}
    sample = metrics.registry.get_sample_value
    assert sample("grpc_server_call_duration_seconds_count", labels) == 2
    assert sample("grpc_server_call_duration_seconds_sum", labels) == pytest.approx(0.023)
    assert sample("grpc_server_call_duration_seconds_bucket", {**labels, "le": "0.005"}) == 1
    assert sample("grpc_server_call_duration_seconds_bucket", {**labels, "le": "+Inf"}) == 2
    slow = {"grpc_method": "a.B/C", "grpc_status": "INTERNAL"}
    assert sample("grpc_server_call_duration_seconds_bucket", {**slow, "le": str(SECONDS[-1])}) == 0
    assert sample("grpc_server_call_duration_seconds_count", slow) == 1


durations = st.one_of(st.sampled_from([0.0, *SECONDS, 1e9]), st.floats(0, 20))


@given(
    st.lists(st.tuples(st.sampled_from(["OK", "INTERNAL"]), durations, st.booleans()), max_size=40), st.integers(0, 40)
)
def test_durations_are_counted_as_the_library_counts_them(
    calls: list[tuple[str, float, bool]], read_after: int
) -> None:
    metrics, registry = Metrics(), CollectorRegistry()
    expected = Histogram("d", "d", ("grpc_method", "grpc_status"), buckets=SECONDS, registry=registry)
    for number, (code, seconds, is_traced) in enumerate(calls):
        metrics.calls.of(METHOD).ended(code, seconds, "trace" if is_traced else "")
        expected.labels("a.B/C", code).observe(seconds)
        if number == read_after:
            metrics.render()  # to be read once must change nothing

    def values(histogram: Histogram) -> dict[str, Any]:
        return {
            f"{sample.name.rpartition('_')[2]} {sample.labels}": pytest.approx(sample.value)
            for [family] in [histogram.collect()]
            for sample in family.samples
            if not sample.name.endswith("_created")
        }

    assert values(metrics.calls.duration) == values(expected)


def test_the_trace_that_was_kept_of_a_call_is_the_exemplar_of_its_duration() -> None:
    metrics = Metrics()
    metrics.calls.of(METHOD).ended("OK", 0.003, "4bf92f3577b34da6a3ce929d0e0e4736")
    assert '# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.003' in metrics.render().decode()


def test_calls_that_began_are_counted_by_method_and_begin_at_zero() -> None:
    metrics = Metrics()
    counted = metrics.calls.of(METHOD)
    assert b'grpc_server_call_started_total{grpc_method="a.B/C"} 0.0' in metrics.render()
    counted.started += 2
    metrics.render()
    counted.started += 1
    assert b'grpc_server_call_started_total{grpc_method="a.B/C"} 3.0' in metrics.render()


def test_what_is_no_method_of_ours_counts_as_one() -> None:
    metrics = Metrics()
    counted = metrics.calls.of(Method("", Patience(1)))
    counted.ended("UNIMPLEMENTED", 0.1)
    counted.refused("UNIMPLEMENTED", "")
    labels = {"grpc_method": "other", "grpc_status": "UNIMPLEMENTED", "reason": "UNIMPLEMENTED"}
    assert metrics.registry.get_sample_value("secure_rpc_refusals_total", labels) == 1
    assert b'grpc_method=""' not in metrics.render()


def test_a_method_is_looked_up_once() -> None:
    metrics = Metrics()
    assert metrics.calls.of(METHOD) is metrics.calls.of(Method("/a.B/C", Patience(1)))
    assert metrics.calls.of(METHOD) is not metrics.calls.of(Method("/a.B/D", Patience(1)))


def test_reasons_of_a_handlers_own_making_do_not_multiply_series() -> None:
    metrics = Metrics()
    counted = metrics.calls.of(METHOD)
    for number in range(10 * MAX_REASONS):
        counted.refused("NOT_FOUND", f"ORDER_{number}")
    series = [sample for sample in families(metrics)["secure_rpc_refusals"] if sample[0].endswith("_total")]
    assert len(series) == MAX_REASONS + 1
    assert sum(value for _, _, value in series) == 10 * MAX_REASONS
    assert {labels["reason"]: value for _, labels, value in series}["OTHER"] == 9 * MAX_REASONS


def test_issuers_and_reasons_of_tokens_do_not_multiply_series() -> None:
    metrics = Metrics()
    metrics.auth.expect(["https://issuer.example.org"])
    for number in range(10 * MAX_REASONS):
        metrics.auth.validated(f"https://{number}.example.org", f"REASON_{number}")
    found = families(metrics)
    assert {labels["issuer"] for _, labels, _ in found["secure_rpc_token_validations"]} == {
        "https://issuer.example.org",
        "unknown",
    }
    failures = [sample for sample in found["secure_rpc_token_validation_failures"] if sample[0].endswith("_total")]
    assert len(failures) == MAX_REASONS + 1


def test_what_waits_to_be_counted_is_counted_before_the_numbers_are_read() -> None:
    metrics, waiting = Metrics(), [3.0]
    metrics.before_scrape(lambda: metrics.audit.records.inc(waiting.pop()))
    assert b"secure_rpc_audit_records_total 3.0" in metrics.render()


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.audit.records.inc()
    assert other.registry.get_sample_value("secure_rpc_audit_records_total") == 0
    one.calls.of(METHOD).refused("NOT_FOUND", "X")
    assert b"a.B/C" not in other.render()


def test_the_text_ends_as_openmetrics_asks() -> None:
    assert Metrics().render().endswith(b"# EOF\n")
