"""Controls: protection."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Protection",
    "What a caller can cost, break or learn.",
    (
        Control(
            id="D1",
            title="Load is limited before, quotas after it is known who calls",
            text="Calls at once in all and by address; then calls by caller, tenant and class.",
            code=(
                "src/secure_rpc/stages/load_limit.py",
                "src/secure_rpc/shedding/limit.py",
                "src/secure_rpc/stages/rate_limit.py",
            ),
            tests=(
                "tests/attack/test_floods.py::test_calls_past_the_quota_are_refused_and_others_are_not",
                "tests/attack/test_floods.py::test_a_peer_that_floods_is_refused_and_a_caller_from_elsewhere_is_always_served",
                "tests/attack/test_floods.py::test_calls_of_those_who_are_nobody_cost_nobody_any_quota",
            ),
            metrics=(
                "secure_rpc_load_refusals_total",
                "secure_rpc_load_limit_calls",
                "secure_rpc_load_fair_limit_calls",
                "secure_rpc_load_lag_seconds",
                "secure_rpc_delayed_refusals",
                "secure_rpc_event_loop_lag_seconds",
            ),
            alerts=("EventLoopLags", "LoadShed"),
            runbooks=("quota-emergency",),
            drills=("load-flood",),
            checks=("quotas", "load-limit", "load-share"),
        ),
        Control(
            id="D2",
            title="Replicas count together",
            text="Quotas in Redis or Valkey; what is done while the store is away is a setting, and is counted.",
            code=(
                "src/secure_rpc/state/redis_quotas.py",
                "src/secure_rpc/state/connection.py",
                "src/secure_rpc/state/availability.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_shared_quotas.py::test_four_processes_at_full_load_let_through_what_the_quota_allows",
                "tests/integration/secure_rpc/test_shared_quotas.py::test_a_store_that_hangs_is_not_waited_for_longer_than_told",
                "tests/attack/test_quotas_spread.py::test_a_caller_gets_no_more_by_spreading_its_calls_over_replicas_connections_and_tokens",
                "tests/attack/test_shared_store.py::test_hostile_values_in_the_store_are_refused_and_told_and_the_others_count",
            ),
            metrics=(
                "secure_rpc_store_reachable",
                "secure_rpc_store_failures_total",
                "secure_rpc_quota_decisions_without_store_total",
                "secure_rpc_quota_round_trips",
            ),
            alerts=("StoreUnreachable",),
            runbooks=("store-outage",),
            drills=("store-outage",),
            checks=("quotas-shared", "store-secured"),
        ),
        Control(
            id="D3",
            title="Who is refused learns when to come again",
            text="RetryInfo and QuotaFailure; our client waits as it is told.",
            code=(
                "src/secure_rpc/stages/quota_headers.py",
                "src/secure_rpc/client_retry.py",
                "src/secure_rpc/errors.py",
            ),
            tests=(
                "tests/unit/secure_rpc/stages/test_rate_limit.py::test_past_the_quota_the_caller_is_told_which_and_when_to_come_again",
                "tests/unit/secure_rpc/test_client_retry.py::test_who_is_refused_waits_as_told_and_a_little_longer",
                "tests/integration/secure_rpc/test_client_waits.py::test_a_harmless_method_is_made_again_when_the_server_said_and_not_before",
            ),
            metrics=("secure_rpc_refusals_total",),
        ),
        Control(
            id="D4",
            title="Each message is valid",
            text=(
                "The rules of the proto hold for every message, of streams too; which field is wrong is told, its "
                "value is not."
            ),
            code=("src/secure_rpc/stages/validation.py", "src/secure_rpc/stages/plain_rules.py"),
            tests=(
                "tests/unit/secure_rpc/stages/test_plain_rules.py::test_what_is_seen_to_keep_its_rules_is_valid",
                "tests/attack/test_messages.py::test_a_message_that_breaks_a_rule_is_refused_and_not_echoed",
                "tests/unit/secure_rpc/test_chain.py::test_each_message_is_checked_and_a_refusal_cannot_be_swallowed",
            ),
            metrics=("secure_rpc_refusals_total",),
        ),
        Control(
            id="D5",
            title="No inner text reaches a caller",
            text="Whatever a handler, a stage or a rule raises becomes INTERNAL with an id to look for.",
            code=("src/secure_rpc/stages/error_boundary.py", "src/secure_rpc/chain.py"),
            tests=(
                "tests/attack/test_leaks.py::test_what_a_handler_raises_or_answers_wrongly_is_not_told",
                "tests/attack/test_leaks.py::test_what_a_stage_raises_is_not_told_and_lets_nothing_through",
                "tests/unit/secure_rpc/test_endings.py::test_the_caller_and_the_record_agree_and_nothing_leaks",
            ),
            metrics=("grpc_server_call_duration_seconds",),
            alerts=("ErrorBudgetHalfGoneInAnHour", "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"),
        ),
        Control(
            id="D6",
            title="Refusals have one form",
            text="google.rpc.Status with an ErrorInfo of reason and domain.",
            code=("src/secure_rpc/errors.py", "src/secure_rpc/outcome.py"),
            tests=(
                "tests/unit/secure_rpc/test_errors.py::test_the_reason_comes_first_and_names_its_domain_and_facts",
                "tests/unit/secure_rpc/test_endings.py::test_the_reason_reaches_the_caller_and_the_record_under_the_domain_of_the_service",
            ),
            metrics=("secure_rpc_refusals_total",),
        ),
        Control(
            id="D7",
            title="A captured call is taken once",
            text=(
                "Nonce and time, or an idempotency key, held in a store that all share and that no setting lets a "
                "call pass without."
            ),
            code=(
                "src/secure_rpc/stages/replay.py",
                "src/secure_rpc/stages/idempotency.py",
                "src/secure_rpc/state/nonces.py",
                "src/secure_rpc/state/redis_nonces.py",
            ),
            tests=(
                "tests/attack/test_replays.py::test_a_captured_call_cannot_be_made_again_on_any_connection",
                "tests/attack/test_replays.py::test_of_fifty_equal_calls_at_once_one_is_taken",
                "tests/integration/secure_rpc/test_captured_calls.py::test_at_another_replica_and_after_the_store_was_lost",
                "tests/integration/secure_rpc/test_captured_calls.py::test_a_store_that_hangs_takes_no_call",
            ),
            metrics=("secure_rpc_replays_detected_total", "secure_rpc_idempotent_answers_total"),
            alerts=("ReplaysDetected", "KeyCompromiseSuspected"),
            runbooks=("store-outage",),
            drills=("replay",),
            checks=("replay", "replay-shared"),
        ),
        Control(
            id="D8",
            title="Secrets are in no output",
            text="Tokens, keys, cookies and fields that the proto hides are taken out of logs, records and errors.",
            code=(
                "src/secure_rpc/telemetry/redaction.py",
                "src/secure_rpc/redaction.py",
                "src/secure_rpc/sensitive.py",
            ),
            tests=(
                "tests/attack/test_secrets.py::test_no_secret_is_shown_wherever_it_was",
                "tests/unit/secure_rpc/telemetry/test_redaction.py::test_what_looks_like_a_secret_is_taken_out",
                "tests/unit/secure_rpc/audit/test_record.py::test_no_claim_is_written",
            ),
            checks=("log-level",),
            note="No number: what would be counted must not be known.",
        ),
        Control(
            id="D9",
            title="Calls end",
            text="A default and a maximum deadline, handed on to the calls that a handler makes.",
            code=("src/secure_rpc/deadlines.py", "src/secure_rpc/client.py"),
            tests=(
                "tests/unit/secure_rpc/test_deadlines.py::test_a_call_that_takes_too_long_is_ended_and_recorded_as_that",
                "tests/integration/secure_rpc/test_client.py::test_a_call_made_by_a_handler_ends_before_the_one_that_it_serves",
            ),
            metrics=("grpc_server_call_duration_seconds",),
            checks=("deadlines",),
        ),
        Control(
            id="D10",
            title="Slow callers hold nothing",
            text="Headers that nothing follows and messages that never end are cut while others are served.",
            code=("src/secure_rpc/chain.py", "src/secure_rpc/deadlines.py", "src/secure_rpc/server.py"),
            tests=(
                "tests/attack/test_metadata.py::test_headers_that_nothing_follows_are_all_answered_while_others_are_served",
                "tests/unit/secure_rpc/test_endings.py::test_headers_without_a_message_are_answered_in_time",
                "tests/unit/secure_rpc/test_endings.py::test_headers_without_a_message_and_without_identity_are_refused_at_once",
            ),
            metrics=("secure_rpc_calls_in_flight", "secure_rpc_refusals_total"),
        ),
        Control(
            id="D11",
            title="What matters is sealed from end to end",
            text=(
                "Signed methods ask for a proof by the caller's key over method, bytes, time and nonce; sensitive "
                "fields can travel encrypted."
            ),
            code=(
                "src/secure_rpc/stages/integrity.py",
                "src/secure_rpc/identity/call_proof.py",
                "src/secure_rpc/confidential.py",
                "src/secure_rpc/stages/confidentiality.py",
            ),
            tests=(
                "tests/attack/test_signed_calls.py::test_what_a_proxy_alters_is_refused",
                "tests/attack/test_signed_calls.py::test_a_call_that_is_repeated_is_refused",
                "tests/attack/test_sensitive_fields.py::test_a_proxy_reads_nothing_and_the_handler_all",
                "tests/unit/secure_rpc/test_confidential.py::test_a_value_in_another_field_is_not_believed",
            ),
            metrics=("secure_rpc_integrity_key_reloads_total", "secure_rpc_refusals_total"),
            alerts=("KeyCompromiseSuspected",),
            checks=("fields-encrypted",),
        ),
    ),
)
