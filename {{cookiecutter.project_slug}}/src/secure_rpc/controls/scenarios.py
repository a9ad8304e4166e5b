"""Controls: scenarios."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Scenarios",
    "What it is for, from end to end.",
    (
        Control(
            id="I1",
            title="Services in a mesh",
            text="The sidecar's last step and the rules of both meshes, with the policy as it stands.",
            code=("deploy/overlays/istio", "deploy/overlays/linkerd", "deploy/overlays/istio-passthrough"),
            tests=(
                "tests/scenarios/test_mesh_microservices.py::test_a_service_that_was_taken_over_has_no_rights_to_lend",
            ),
            template_tests=(
                "tests/test_deploy.py::test_envoy_takes_the_last_step_from_sidecar_to_service",
                "tests/test_deploy.py::test_rules_are_made_anew_when_the_policy_changes",
            ),
            note="Tried with Envoy and the schemas of the meshes, not in a cluster.",
        ),
        Control(
            id="I2",
            title="A public API with logins",
            text="A real OpenID provider; its tokens, introspected or verified, by gRPC and REST.",
            code=("src/secure_rpc/identity/tokens.py", "src/secure_rpc/edge/together.py"),
            tests=("tests/scenarios/test_public_api.py::test_a_scope_is_a_right_and_the_provider_is_asked_once",),
            template_tests=(
                "tests/test_oidc_provider.py::test_a_client_gets_its_token_by_itself",
                "tests/test_edge.py::test_rest_is_the_same_calls",
            ),
            note="Counted as any call (F1).",
        ),
        Control(
            id="I3",
            title="A browser by gRPC-Web",
            text="A page in a real browser, through a real Envoy.",
            code=("src/secure_rpc/edge/routes.py", "browser/src/transport.ts"),
            template_tests=(
                "tests/test_scenario_browser.py::test_people_use_the_service_from_a_page_until_they_are_let_go",
                "tests/test_browser.py::test_a_stream_goes_on_with_new_tokens_and_after_a_cut",
                "tests/test_edge.py::test_a_page_calls_and_the_service_knows_user_and_edge",
            ),
            note="Counted as any call (F1).",
        ),
        Control(
            id="I4",
            title="Two clusters",
            text="Two trust domains with two issuers become partners.",
            code=("src/secure_rpc/drills/federation.py", "src/secure_rpc/drills/domains.py"),
            tests=(
                "tests/scenarios/test_cross_cluster.py::test_calls_cross_over_as_what_they_are_at_home_and_neither_side_speaks_for_the_other",
                "tests/integration/secure_rpc/test_drills.py::test_two_trust_domains_become_partners_and_neither_can_speak_for_the_other",
            ),
            drills=("federation",),
            note="Two copies on one machine stand for two clusters.",
        ),
        Control(
            id="I5",
            title="Payments",
            text="A captured call moves money once, across replicas, restarts and a lost store.",
            code=("src/secure_rpc/stages/replay.py", "src/secure_rpc/stages/idempotency.py"),
            tests=(
                "tests/scenarios/test_payments.py::test_an_answer_that_is_lost_is_given_again_and_the_money_moves_once",
                "tests/integration/secure_rpc/test_captured_calls.py::test_after_a_restart",
                "tests/integration/secure_rpc/test_captured_calls.py::test_at_another_replica_and_after_the_store_was_lost",
                "tests/integration/secure_rpc/test_idempotency.py::test_another_replica_answers_and_so_does_the_service_after_a_restart",
            ),
            metrics=("secure_rpc_replays_detected_total",),
            alerts=("ReplaysDetected",),
            drills=("replay",),
        ),
        Control(
            id="I6",
            title="Many tenants",
            text="Nobody gets at another tenant's data, by any kind of call.",
            code=("src/secure_rpc/stages/authorization.py",),
            tests=(
                "tests/scenarios/test_saas_tenants.py::test_a_company_that_leaves_is_out_at_once_streams_too_and_the_others_stay",
                "tests/attack/test_tenants.py::test_the_data_of_another_tenant_are_refused",
                "tests/attack/test_tenants.py::test_a_stream_that_turns_to_the_data_of_another_tenant_ends_there",
            ),
            metrics=("secure_rpc_refusals_total",),
            drills=("tenant-breach",),
        ),
        Control(
            id="I7",
            title="Devices on bad links",
            text="Streams go on across cuts where they stopped; a stolen device does not come back.",
            code=("src/secure_rpc/client_streams/kept_stream.py", "src/secure_rpc/client_streams/persistence.py"),
            tests=(
                "tests/scenarios/test_iot_devices.py::test_every_command_comes_once_and_in_order_however_often_the_link_breaks",
                "tests/integration/secure_rpc/test_kept_streams.py::test_every_message_comes_once_and_in_order_wherever_calls_are_cut",
            ),
            metrics=("secure_rpc_streams_ended_total",),
        ),
        Control(
            id="I8",
            title="An outage by an expired certificate",
            text="Told before it comes, mended without a restart.",
            code=("src/secure_rpc/drills/certificates.py",),
            tests=(
                "tests/scenarios/test_certificate_expiry.py::test_it_is_seen_a_day_before_and_new_files_are_all_that_it_takes",
                "tests/integration/secure_rpc/test_drills_watched.py::test_the_fault_is_seen_the_runbook_helps_and_all_is_well_again",
            ),
            metrics=("secure_rpc_certificate_not_after_timestamp_seconds",),
            alerts=("CertificateExpiresWithinADay",),
            runbooks=("certificate-rotation",),
            drills=("certificate-expiry",),
        ),
        Control(
            id="I9",
            title="Telemetry that streams in",
            text="Uploads go on past their token, and leave nothing where they broke off.",
            code=("src/secure_rpc/stages/sessions.py", "src/secure_rpc/stages/stream_limits.py"),
            tests=(
                "tests/scenarios/test_telemetry_ingest.py::test_an_upload_goes_on_past_its_token_by_showing_new_ones",
                "tests/attack/test_uploads.py::test_an_upload_that_breaks_off_on_the_wire_is_not_committed",
            ),
            metrics=("secure_rpc_streams_ended_total",),
        ),
        Control(
            id="I10",
            title="A managed IAM in front",
            text="A gateway passes its users on, and lends them none of its own rights.",
            code=("src/secure_rpc/exchange.py", "src/secure_rpc/identity/principal.py"),
            tests=(
                "tests/scenarios/test_managed_iam.py::test_the_function_sees_the_user_behind_the_gateway_and_asks_the_iam_once",
                "tests/scenarios/test_managed_iam.py::test_neither_the_gateway_nor_who_steals_its_tokens_gets_further",
            ),
            metrics=("secure_rpc_refusals_total",),
        ),
        Control(
            id="I11",
            title="Inference with authentication out of its way",
            text="Thousands of calls ask the issuers once, each has its record, and who is revoked is out.",
            code=("src/secure_rpc/identity/tokens.py", "src/secure_rpc/identity/introspection.py"),
            tests=(
                "tests/scenarios/test_inference.py::test_thousands_of_calls_ask_the_issuers_once_and_each_has_its_record",
                "tests/scenarios/test_inference.py::test_a_caller_that_is_remembered_is_refused_once_it_is_revoked",
            ),
            metrics=("secure_rpc_identity_cache_uses",),
        ),
        Control(
            id="I12",
            title="An internal service",
            text="A newcomer is nobody until the policy names it, and access that was given for a time ends.",
            code=("src/secure_rpc/policy/engine.py", "src/secure_rpc/policy/keeper.py"),
            tests=(
                "tests/scenarios/test_internal_service.py::test_a_newcomer_is_nobody_until_the_policy_names_it_and_nobody_else_notices",
                "tests/scenarios/test_internal_service.py::test_access_that_was_given_for_a_time_ends_by_itself_streams_too",
            ),
            metrics=("secure_rpc_refusals_total",),
            alerts=("PolicyReloadRefused",),
        ),
    ),
)
