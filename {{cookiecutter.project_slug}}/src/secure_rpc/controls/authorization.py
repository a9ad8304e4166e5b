"""Controls: authorization."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Authorization",
    "What a caller may do, and with whose data.",
    (
        Control(
            id="C1",
            title="The proto says what a method needs",
            text="Permissions, replay, quota class and tenant field stand at the rpc.",
            code=("proto/secure_rpc/v1/access.proto", "src/secure_rpc/policy/contract.py"),
            tests=(
                "tests/unit/secure_rpc/policy/test_contract.py::test_everything_that_the_proto_says_is_read",
                "tests/unit/secure_rpc/policy/test_contract.py::test_a_rule_that_would_not_do_is_refused_with_a_remedy",
            ),
            checks=("policy-sound", "public-methods"),
            note="No number: a contract that is wrong keeps the service from starting.",
        ),
        Control(
            id="C2",
            title="Denied unless it is given",
            text=(
                "A method without a rule is not served; names that do not exist are refused at start, with the one "
                "that was meant."
            ),
            code=(
                "src/secure_rpc/policy/engine.py",
                "src/secure_rpc/policy/loading.py",
                "src/secure_rpc/policy/references.py",
            ),
            tests=(
                "tests/unit/secure_rpc/policy/test_contract.py::test_a_method_without_a_rule_is_refused",
                "tests/unit/secure_rpc/policy/test_engine.py::test_without_a_binding_nobody_may_do_anything",
                "tests/attack/test_contracts.py::test_a_method_is_not_served",
                "tests/attack/test_contracts.py::test_a_policy_is_not_taken",
            ),
            metrics=("secure_rpc_refusals_total",),
            alerts=("ErrorBudgetBurnsFast",),
            checks=("policy-sound", "policy-unreachable"),
        ),
        Control(
            id="C3",
            title="Roles and bindings in one file",
            text="Roles give permissions; bindings give roles to workloads, users, groups and keys, by tenant.",
            code=(
                "src/secure_rpc/policy/document.py",
                "src/secure_rpc/policy/engine.py",
                "src/secure_rpc/policy/entries.py",
            ),
            tests=(
                "tests/unit/secure_rpc/policy/test_document.py::test_a_binding_of_nobody_is_refused",
                "tests/unit/secure_rpc/policy/test_engine.py::test_what_a_workload_may_do_alone_is_not_lent_to_the_users_whose_calls_it_passes_on",
            ),
            metrics=("secure_rpc_refusals_total",),
            checks=("policy-wildcards", "policy-unused-roles", "policy-persons", "policy-ended"),
        ),
        Control(
            id="C4",
            title="Conditions that deny when in doubt",
            text="CEL over principal, request, method, metadata and time, typed when it is read; an error denies.",
            code=("src/secure_rpc/policy/conditions.py", "src/secure_rpc/policy/expressions.py"),
            tests=(
                "tests/unit/secure_rpc/policy/test_conditions.py::test_what_cannot_be_told_denies_and_is_told",
                "tests/unit/secure_rpc/policy/test_conditions.py::test_what_is_wrong_is_told_before_any_call",
                "tests/integration/secure_rpc/test_policy_reload.py::test_a_condition_on_the_request_is_held_against_each_message",
            ),
            metrics=("secure_rpc_policy_condition_failures_total",),
        ),
        Control(
            id="C5",
            title="Tenants are kept apart",
            text="The tenant of each message must be one of the caller's.",
            code=("src/secure_rpc/stages/authorization.py", "src/secure_rpc/policy/engine.py"),
            tests=(
                "tests/attack/test_tenants.py::test_the_data_of_another_tenant_are_refused",
                "tests/attack/test_tenants.py::test_no_tenant_is_no_way_to_all_of_them",
                "tests/attack/test_tenants.py::test_a_stream_that_turns_to_the_data_of_another_tenant_ends_there",
            ),
            metrics=("secure_rpc_refusals_total",),
            alerts=("ErrorBudgetBurnsFast",),
            runbooks=("revocation",),
            drills=("tenant-breach",),
            checks=("policy-all-tenants",),
        ),
        Control(
            id="C6",
            title="The policy is tested as a table",
            text="Who may call what is written down and tried; a method without an allow and a deny fails.",
            code=(
                "src/secure_rpc/policy/cases.py",
                "src/secure_rpc/policy/coverage.py",
                "src/secure_rpc/cli/policy_checking.py",
            ),
            tests=(
                "tests/unit/secure_rpc/policy/test_coverage.py::test_a_method_without_an_allow_or_a_deny_is_missed_and_a_case_is_proposed",
                "tests/unit/secure_rpc/cli/test_policies.py::test_a_gap_alone_ends_with_one",
            ),
            checks=("policy-tested",),
            note="No number: make test ends with an error.",
        ),
        Control(
            id="C7",
            title="What a change gives and takes is shown",
            text="policy diff tells who gains and who loses which method.",
            code=(
                "src/secure_rpc/policy/comparison.py",
                "src/secure_rpc/policy/differences.py",
                "src/secure_rpc/cli/policy_explaining.py",
            ),
            tests=(
                "tests/unit/secure_rpc/policy/test_comparison.py::test_a_method_that_asks_for_two_permissions_is_gained_with_the_second",
                "tests/unit/secure_rpc/cli/test_policies.py::test_diff_ends_as_diff_does",
            ),
            note="It is run by whoever reviews; the CI that comes along does not post it.",
        ),
        Control(
            id="C8",
            title="A decision can be explained",
            text="policy explain says why a caller may or may not, and which rule decided.",
            code=("src/secure_rpc/policy/explaining.py", "src/secure_rpc/cli/policy_explaining.py"),
            tests=(
                "tests/unit/secure_rpc/cli/test_policies.py::test_explain_says_whether_and_why",
                "tests/unit/secure_rpc/policy/test_engine.py::test_the_rule_says_what_is_missing_or_which_binding_gave_it",
            ),
            note="A tool for people; nothing of it runs in the service.",
        ),
        Control(
            id="C9",
            title="A policy is taken up as it changes",
            text="Without a restart; one that is not sound changes nothing and is told.",
            code=(
                "src/secure_rpc/policy/keeper.py",
                "src/secure_rpc/policy/active.py",
                "src/secure_rpc/policy/child.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_policy_reload.py::test_a_bad_file_leaves_the_policy_before_it_and_is_told",
                "tests/integration/secure_rpc/test_policy_reload.py::test_no_decision_mixes_two_versions",
            ),
            metrics=("secure_rpc_policy_reloads_total", "secure_rpc_policy_loaded_timestamp_seconds"),
            alerts=("PolicyReloadRefused",),
            runbooks=("policy-rollback",),
            drills=("policy-misconfiguration", "rotation"),
            checks=("running-policy",),
        ),
        Control(
            id="C10",
            title="A candidate is tried beside the policy",
            text="In the shadow, then for a share of callers; it takes itself back when it alone refuses too many.",
            code=(
                "src/secure_rpc/policy/shadow.py",
                "src/secure_rpc/policy/keeper.py",
                "src/secure_rpc/cli/policy_rollouts.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_policy_rollout.py::test_a_candidate_that_only_watches_refuses_nobody_and_tells_what_it_would_do",
                "tests/integration/secure_rpc/test_policy_rollout.py::test_a_bad_candidate_at_ten_percent_takes_itself_back",
            ),
            metrics=(
                "secure_rpc_policy_shadow_differences_total",
                "secure_rpc_policy_rollout_percent",
                "secure_rpc_policy_rollbacks_total",
            ),
            alerts=("PolicyRolledBack",),
            runbooks=("policy-rollback",),
            drills=("policy-rollback",),
        ),
        Control(
            id="C11",
            title="Refusals are recorded in full and told in brief",
            text="The record has caller, method and rule; the caller has a code and a reason.",
            code=(
                "src/secure_rpc/stages/authorization.py",
                "src/secure_rpc/audit/record.py",
                "src/secure_rpc/errors.py",
            ),
            tests=(
                "tests/unit/secure_rpc/audit/test_record.py::test_a_record_says_who_did_what_to_whose_data_and_how_it_ended",
                "tests/unit/secure_rpc/test_errors.py::test_the_cause_is_not_sent",
                "tests/unit/secure_rpc/telemetry/test_calls.py::test_a_refusal_is_logged_and_counted_whatever_the_share",
            ),
            metrics=("secure_rpc_refusals_total",),
        ),
        Control(
            id="C12",
            title="Open streams are judged again",
            text="When policy, revocations or a binding's time change, streams that would not begin any more end.",
            code=("src/secure_rpc/live.py", "src/secure_rpc/stages/session.py", "src/secure_rpc/policy/keeper.py"),
            tests=(
                "tests/integration/secure_rpc/test_policy_reload.py::test_a_stream_that_would_not_be_allowed_any_more_is_ended",
                "tests/integration/secure_rpc/test_policy_reload.py::test_a_stream_ends_when_its_binding_does",
            ),
            metrics=("secure_rpc_streams_ended_by_auth_total",),
            alerts=("StreamsEndedByAuth",),
            checks=("session-review",),
        ),
        Control(
            id="C13",
            title="What nobody uses is shown",
            text="Permissions that were given and never used, from the audit log.",
            code=("src/secure_rpc/policy/usage.py", "src/secure_rpc/cli/policy_reports.py"),
            tests=(
                "tests/unit/secure_rpc/cli/test_policy_reports.py::test_unused_tells_what_was_not_used_and_how_much_that_says",
                "tests/unit/secure_rpc/cli/test_policy_reports.py::test_unused_refuses_a_log_that_is_not_whole_unless_told",
            ),
            runbooks=("routines",),
            checks=("policy-unused-roles",),
            note="A report that people ask for.",
        ),
    ),
)
