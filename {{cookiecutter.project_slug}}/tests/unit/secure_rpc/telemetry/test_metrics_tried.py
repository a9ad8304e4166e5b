"""Each metric is moved by a real event on a live service, in a test that is named here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secure_rpc.telemetry.metrics import Metrics

LIVE = Path("tests/integration/secure_rpc")
ATTACKS = Path("tests/attack")
INDICATORS, OTHERS = LIVE / "test_indicators.py", LIVE / "test_metrics_moved.py"
WORKERS, TRACING, ROLLOUT = (LIVE / f"test_{name}.py" for name in ("workers", "tracing", "policy_rollout"))
SESSIONS, QUOTAS, LISTS = (LIVE / f"test_{name}.py" for name in ("sessions", "shared_quotas", "revocations"))
SHARED_LISTS, IN_TIME = LIVE / "test_shared_revocations.py", LIVE / "test_certificates_in_time.py"
REPLAYS = LIVE / "test_idempotency.py"

TRIED: dict[str, tuple[Path, ...]] = {
    # of the objectives
    "grpc_server_tls_handshakes_started": (INDICATORS,),
    "grpc_server_tls_handshake_failures": (INDICATORS,),
    "secure_rpc_mtls_failures": (INDICATORS,),
    "secure_rpc_token_validations": (INDICATORS,),
    "secure_rpc_token_validation_failures": (INDICATORS,),
    "grpc_server_call_started": (INDICATORS,),
    "grpc_server_call_duration_seconds": (INDICATORS,),
    "secure_rpc_refusals": (INDICATORS,),
    "secure_rpc_auth_duration_seconds": (INDICATORS,),
    "secure_rpc_streams_ended_by_auth": (INDICATORS,),
    "secure_rpc_certificate_not_after_timestamp_seconds": (INDICATORS, IN_TIME),
    "secure_rpc_audit_records": (INDICATORS,),
    "secure_rpc_calls_ended": (INDICATORS,),
    "secure_rpc_replays_detected": (INDICATORS,),
    "secure_rpc_policy_reloads": (INDICATORS,),
    "secure_rpc_policy_rollbacks": (ROLLOUT,),
    # others
    "process_cpu_seconds": (OTHERS,),
    "process_open_fds": (OTHERS,),
    "process_resident_memory_bytes": (OTHERS,),
    "secure_rpc_api_key_file_failures": (OTHERS,),
    "secure_rpc_audit_archive_failures": (OTHERS,),
    "secure_rpc_audit_sequence": (OTHERS,),
    "secure_rpc_audit_write_failures": (ATTACKS / "test_audit_unwritable.py",),
    "secure_rpc_build_info": (OTHERS,),
    "secure_rpc_calls_in_flight": (WORKERS,),
    "secure_rpc_certificate_reloads": (IN_TIME,),
    "secure_rpc_crl_next_update_timestamp_seconds": (OTHERS,),
    "secure_rpc_delayed_refusals": (OTHERS,),
    "secure_rpc_event_loop_lag_seconds": (OTHERS,),
    "secure_rpc_idempotent_answers": (REPLAYS,),
    "secure_rpc_identity_cache_uses": (OTHERS,),
    "secure_rpc_integrity_key_reloads": (OTHERS,),
    "secure_rpc_introspection_duration_seconds": (OTHERS,),
    "secure_rpc_issuer_key_fetches": (OTHERS,),
    "secure_rpc_issuer_keys_age_seconds": (OTHERS,),
    "secure_rpc_load_fair_limit_calls": (OTHERS,),
    "secure_rpc_load_limit_calls": (OTHERS,),
    "secure_rpc_load_refusals": (ATTACKS / "test_floods.py",),
    "secure_rpc_policy_condition_failures": (OTHERS,),
    "secure_rpc_policy_loaded_timestamp_seconds": (OTHERS,),
    "secure_rpc_policy_rollout_percent": (ROLLOUT,),
    "secure_rpc_policy_shadow_differences": (ROLLOUT,),
    "secure_rpc_quota_decisions_without_store": (QUOTAS,),
    "secure_rpc_quota_round_trips": (QUOTAS,),
    "secure_rpc_revocation_reloads": (LISTS,),
    "secure_rpc_revocations": (LISTS,),
    "secure_rpc_revocations_age_seconds": (SHARED_LISTS,),
    "secure_rpc_revocations_malformed": (ATTACKS / "test_shared_store.py",),
    "secure_rpc_session_refreshes": (SESSIONS,),
    "secure_rpc_sessions_live": (SESSIONS,),
    "secure_rpc_spans_exported": (TRACING,),
    "secure_rpc_spans_lost": (TRACING,),
    "secure_rpc_store_failures": (SHARED_LISTS,),
    "secure_rpc_store_reachable": (SHARED_LISTS,),
    "secure_rpc_streams_ended": (SESSIONS,),
    "secure_rpc_tls_key_exchange_groups": (IN_TIME,),
    "secure_rpc_traces_not_kept": (OTHERS,),
}
EXEMPT = {
    "secure_rpc_load_lag_seconds": "how late a real loop is hangs on the machine; unit tests give it a lag to measure",
}


def families() -> list[str]:
    text = Metrics().render().decode()
    return [family.name for family in text_string_to_metric_families(text)]  # type: ignore[no-untyped-call]


def test_each_metric_is_tried_or_has_a_reason_not_to_be() -> None:
    assert sorted([*TRIED, *EXEMPT]) == sorted(families())
    assert all(reason.strip() for reason in EXEMPT.values())


@pytest.mark.parametrize("name", TRIED)
def test_a_test_names_the_metric(name: str) -> None:
    named = re.compile(rf"{name}(_total|_count)?(?![a-z_])")
    for path in TRIED[name]:
        assert any(map(named.search, texts_of_tests(path))), f"{path} has no test that speaks of {name}"


def texts_of_tests(path: Path) -> list[str]:
    """Return the texts that stand in the tests of a file, and in what these may call: its other functions."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        node.value
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
