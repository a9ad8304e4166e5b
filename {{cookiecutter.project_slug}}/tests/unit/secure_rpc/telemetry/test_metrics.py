"""The numbers are served in OpenMetrics, with labels that callers cannot multiply."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secure_rpc.telemetry.metrics import SECONDS, Metrics


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
        "secure_rpc_calls_in_flight",
        "secure_rpc_refusals",
        "secure_rpc_identity_cache_uses",
        "secure_rpc_issuer_key_fetches",
        "secure_rpc_issuer_keys_age_seconds",
        "secure_rpc_introspection_duration_seconds",
        "secure_rpc_api_key_file_failures",
        "secure_rpc_policy_reloads",
        "secure_rpc_policy_loaded_timestamp_seconds",
        "secure_rpc_policy_condition_failures",
        "secure_rpc_policy_shadow_differences",
        "secure_rpc_policy_rollout_percent",
        "secure_rpc_policy_rollbacks",
        "secure_rpc_audit_records",
        "secure_rpc_audit_sequence",
        "secure_rpc_audit_archive_failures",
        "secure_rpc_audit_write_failures",
        "secure_rpc_certificate_not_after_timestamp_seconds",
        "secure_rpc_certificate_reloads",
        "secure_rpc_crl_next_update_timestamp_seconds",
        "secure_rpc_revocation_reloads",
        "secure_rpc_revocations",
        "secure_rpc_revocations_age_seconds",
        "secure_rpc_revocations_malformed",
        "secure_rpc_store_failures",
        "secure_rpc_store_reachable",
        "secure_rpc_tls_key_exchange_groups",
    }


def test_every_metric_says_what_it_is() -> None:
    for family in text_string_to_metric_families(Metrics().render().decode()):  # type: ignore[no-untyped-call]
        assert family.documentation.endswith(".")
        assert family.type != "unknown"


def test_a_duration_is_counted_by_method_and_status() -> None:
    metrics = Metrics()
    metrics.duration_of("/a.B/C", "OK").observe(0.003)
    metrics.duration_of("/a.B/C", "OK").observe(0.02)
    metrics.duration_of("/a.B/C", "INTERNAL").observe(100)
    labels = {"grpc_method": "/a.B/C", "grpc_status": "OK"}
    sample = metrics.registry.get_sample_value
    assert sample("grpc_server_call_duration_seconds_count", labels) == 2
    assert sample("grpc_server_call_duration_seconds_sum", labels) == pytest.approx(0.023)
    assert sample("grpc_server_call_duration_seconds_bucket", {**labels, "le": "0.005"}) == 1
    assert sample("grpc_server_call_duration_seconds_bucket", {**labels, "le": "+Inf"}) == 2
    slow = {"grpc_method": "/a.B/C", "grpc_status": "INTERNAL"}
    assert sample("grpc_server_call_duration_seconds_bucket", {**slow, "le": str(SECONDS[-1])}) == 0
    assert sample("grpc_server_call_duration_seconds_count", slow) == 1


def test_what_is_no_method_of_ours_counts_as_one() -> None:
    metrics = Metrics()
    metrics.duration_of("", "UNIMPLEMENTED").observe(0.1)
    metrics.refusals_of("", "UNIMPLEMENTED").inc()
    assert (
        metrics.registry.get_sample_value(
            "secure_rpc_refusals_total", {"grpc_method": "other", "reason": "UNIMPLEMENTED"}
        )
        == 1
    )
    assert b'grpc_method=""' not in metrics.render()


def test_the_same_labels_are_the_same_counter() -> None:
    metrics = Metrics()
    assert metrics.refusals_of("/a.B/C", "X") is metrics.refusals_of("/a.B/C", "X")
    assert metrics.refusals_of("/a.B/C", "X") is not metrics.refusals_of("/a.B/C", "Y")


def test_what_waits_to_be_counted_is_counted_before_the_numbers_are_read() -> None:
    metrics, waiting = Metrics(), [3.0]
    metrics.before_scrape(lambda: metrics.audit.records.inc(waiting.pop()))
    assert b"secure_rpc_audit_records_total 3.0" in metrics.render()


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.audit.records.inc()
    assert other.registry.get_sample_value("secure_rpc_audit_records_total") == 0
    one.refusals_of("/a.B/C", "X").inc()
    assert b"/a.B/C" not in other.render()


def test_the_text_ends_as_openmetrics_asks() -> None:
    assert Metrics().render().endswith(b"# EOF\n")
