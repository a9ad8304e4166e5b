"""Controls: observability."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Observability",
    "What is known of it, then and later.",
    (
        Control(
            id="F1",
            title="The indicators are counted",
            text="A number for each promise, moved by what really happens.",
            code=(
                "src/secure_rpc/telemetry/metrics.py",
                "src/secure_rpc/telemetry/call_metrics.py",
                "src/secure_rpc/telemetry/auth_metrics.py",
                "src/secure_rpc/observability/indicators.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_indicators.py::test_refused_calls_count_by_method_status_and_reason",
                "tests/integration/secure_rpc/test_indicators.py::test_hostile_callers_add_no_series",
                "tests/integration/secure_rpc/test_metrics_moved.py::test_callers_that_are_remembered_count_as_hits",
                "tests/unit/secure_rpc/telemetry/test_metrics_tried.py::test_each_metric_is_tried_or_has_a_reason_not_to_be",
            ),
            template_tests=("tests/test_observability.py::test_recorded_indicators_are_what_the_callers_were",),
            metrics=("secure_rpc_auth_duration_seconds", "secure_rpc_refusals_total"),
            alerts=("ErrorBudgetBurnsFast",),
            checks=("running-metrics", "admin-scrapers"),
        ),
        Control(
            id="F2",
            title="Logs are for machines",
            text="One JSON object a line, of a published form.",
            code=(
                "src/secure_rpc/telemetry/logging.py",
                "src/secure_rpc/telemetry/calls.py",
                "src/secure_rpc/telemetry/log.schema.json",
            ),
            tests=("tests/integration/secure_rpc/test_log_schema.py::test_the_lines_of_a_service_are_as_published",),
            checks=("log-format", "log-level"),
            note="No number: a test holds that no value costs a line.",
        ),
        Control(
            id="F3",
            title="One record for each call, that can be proven",
            text=(
                "Chained by hashes, anchored, signed, verified offline; refusals, unknown methods and cut streams too."
            ),
            code=(
                "src/secure_rpc/audit/chain.py",
                "src/secure_rpc/audit/chain_log.py",
                "src/secure_rpc/audit/verify.py",
                "src/secure_rpc/audit/checkpoints.py",
                "src/secure_rpc/stages/audit.py",
            ),
            tests=(
                "tests/unit/secure_rpc/audit/test_verify.py::test_no_byte_can_be_changed_unseen",
                "tests/unit/secure_rpc/audit/test_tampering.py::test_no_tampering_at_random_goes_unseen",
                "tests/unit/secure_rpc/audit/test_tampering.py::test_a_log_made_anew_by_who_has_the_key_is_told_by_the_anchors_elsewhere",
                "tests/attack/test_audit_killed.py::test_killed_under_load_it_has_the_record_of_each_call_that_was_answered",
                "tests/attack/test_audit_unwritable.py::test_calls_are_refused_while_the_audit_cannot_be_written_and_no_record_is_lost",
            ),
            metrics=(
                "secure_rpc_audit_records_total",
                "secure_rpc_audit_sequence",
                "secure_rpc_audit_write_failures_total",
                "secure_rpc_audit_archive_failures_total",
            ),
            alerts=("AuditCannotBeWritten", "ErrorBudgetHalfGoneInAnHour"),
            runbooks=("audit-chain-broken",),
            checks=(
                "audit-refuses",
                "audit-kept",
                "audit-signed",
                "audit-retention",
                "audit-durable",
                "audit-sealed",
                "running-audit",
            ),
        ),
        Control(
            id="F4",
            title="Traces tell the steps",
            text=(
                "A span for each call with those of authentication inside; failures are always traced, at a bounded"
                " rate."
            ),
            code=(
                "src/secure_rpc/telemetry/tracing.py",
                "src/secure_rpc/telemetry/spans.py",
                "src/secure_rpc/telemetry/exporting.py",
                "src/secure_rpc/trace_context.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_tracing.py::test_a_call_across_two_services_is_one_trace_with_the_steps_of_authentication_in_it",
                "tests/integration/secure_rpc/test_tracing.py::test_a_collector_that_refuses_or_is_silent_touches_no_call",
                "tests/unit/secure_rpc/telemetry/test_tracing.py::test_callers_cannot_have_all_calls_traced",
            ),
            metrics=(
                "secure_rpc_spans_exported_total",
                "secure_rpc_spans_lost_total",
                "secure_rpc_traces_not_kept_total",
            ),
            checks=("tracing-tls",),
        ),
        Control(
            id="F5",
            title="Dashboards that show something",
            text="For executives, for whoever is on call, and for finding causes.",
            code=(
                "src/secure_rpc/observability/dashboards.py",
                "src/secure_rpc/observability/panels.py",
                "observability/dashboards",
            ),
            tests=("tests/unit/secure_rpc/observability/test_building.py::test_all_asks_for_metrics_that_there_are",),
            template_tests=(
                "tests/test_observability.py::test_each_query_of_a_dashboard_returns_data_of_a_live_service",
            ),
            checks=("alerts-built",),
            note="They show numbers and have none.",
        ),
        Control(
            id="F6",
            title="Alerts lead to a runbook",
            text=(
                "Pages and tickets of one file of promises, tested for silence before and for what they say after; "
                "silent in a deploy window."
            ),
            code=(
                "src/secure_rpc/observability/alerts.py",
                "src/secure_rpc/observability/rules.py",
                "src/secure_rpc/observability/routing.py",
                "observability/rules.yaml",
            ),
            tests=(
                "tests/unit/secure_rpc/observability/test_building.py::test_each_alert_has_a_runbook_of_its_own_name",
                "tests/unit/secure_rpc/observability/test_building.py::test_a_threshold_is_the_one_that_was_promised",
            ),
            template_tests=(
                "tests/test_observability.py::test_rules_are_sound_and_each_alert_fires_when_it_is_due_and_not_before",
                "tests/test_observability.py::test_a_failure_reaches_somebody",
            ),
            alerts=("DeployWindow", "ErrorBudgetHalfGoneInAnHour", "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"),
            checks=("alerts-built", "runbooks"),
        ),
        Control(
            id="F7",
            title="Promises are written down",
            text="Objectives and error budgets stand in one file, with the queries that measure them.",
            code=(
                "src/secure_rpc/observability/objectives.py",
                "src/secure_rpc/observability/queries.py",
                "observability/objectives.yaml",
            ),
            tests=(
                "tests/unit/secure_rpc/observability/test_building.py::test_each_objective_has_its_indicator",
                "tests/unit/secure_rpc/observability/test_building.py::test_it_is_the_same_each_time_and_what_was_changed_is_found",
            ),
            alerts=("ErrorBudgetBurnsSlowly",),
            checks=("alerts-built",),
        ),
    ),
)
