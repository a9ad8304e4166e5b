"""Controls: transport."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Transport",
    "What a connection is, before anybody says who is calling.",
    (
        Control(
            id="A1",
            title="TLS alone",
            text="Every port that takes calls speaks TLS; plaintext, gRPC in plaintext and HTTP/1.1 are not answered.",
            code=("src/secure_rpc/server.py", "src/secure_rpc/tls/credentials.py", "src/secure_rpc/tls/handshake.py"),
            tests=(
                "tests/attack/test_connections.py::test_plaintext_http2_gets_no_answer",
                "tests/attack/test_connections.py::test_plaintext_grpc_gets_no_answer",
                "tests/attack/test_connections.py::test_plaintext_http1_gets_no_answer",
                "tests/unit/secure_rpc/tls/test_handshake.py::test_another_certificate_than_the_files_is_told",
            ),
            metrics=("grpc_server_tls_handshakes_started_total", "grpc_server_tls_handshake_failures_total"),
            alerts=("TlsHandshakesFailEnMasse",),
            checks=("running-tls",),
        ),
        Control(
            id="A2",
            title="Callers show a certificate",
            text=(
                "Without a certificate of a CA that the service trusts, for clients and valid now, there is no "
                "connection or no call."
            ),
            code=(
                "src/secure_rpc/tls/credentials.py",
                "src/secure_rpc/tls/reload.py",
                "src/secure_rpc/identity/certificate.py",
            ),
            tests=(
                "tests/attack/test_connections.py::test_no_client_certificate_is_refused",
                "tests/attack/test_connections.py::test_a_certificate_is_refused_by_tls",
                "tests/attack/test_certificates.py::test_a_certificate_is_refused_by_every_kind_of_method_public_ones_included",
            ),
            metrics=("secure_rpc_mtls_failures_total",),
            alerts=("TlsHandshakesFailEnMasse",),
            checks=("running-tls",),
        ),
        Control(
            id="A3",
            title="TLS 1.3",
            text=(
                "Nothing older is spoken unless a setting says so; looked at when the process starts and at each call."
            ),
            code=(
                "src/secure_rpc/tls/floor.py",
                "src/secure_rpc/tls/handshake.py",
                "src/secure_rpc/stages/authentication.py",
            ),
            tests=(
                "tests/attack/test_connections.py::test_tls_1_2_is_refused",
                "tests/attack/test_connections.py::test_old_tls_by_openssl_is_refused",
                "tests/attack/test_contracts.py::test_a_server_for_tls_1_2_does_not_start_in_a_process_for_1_3",
                "tests/unit/secure_rpc/tls/test_floor.py::test_tls_1_3_is_the_floor_where_nobody_says_otherwise",
                "tests/unit/secure_rpc/stages/test_access.py::test_an_older_tls_is_refused_whatever_the_transport_let_in",
            ),
            metrics=("grpc_server_tls_handshake_failures_total", "secure_rpc_tls_key_exchange_groups_total"),
            alerts=("TlsHandshakesFailEnMasse",),
            drills=("protocol-downgrade",),
            checks=("tls-floor", "running-tls"),
        ),
        Control(
            id="A4",
            title="Keys of development stay there",
            text=(
                "Each machine makes a CA of its own; production has its certificates from cert-manager, and no key "
                "is ever part of the template."
            ),
            code=("src/secure_rpc/dev/authority.py", "src/secure_rpc/dev/setup.py", "deploy/base/certificates.yaml"),
            tests=(
                "tests/unit/secure_rpc/dev/test_setup.py::test_the_folder_and_its_keys_are_for_their_owner_alone",
                "tests/unit/secure_rpc/dev/test_authority.py::test_no_two_certificates_share_a_key_or_a_number",
            ),
            checks=("development-files", "environment", "certificates-sound"),
            note="No number: it is a matter of files, which doctor looks at.",
        ),
        Control(
            id="A5",
            title="Certificates are taken up as they come",
            text=(
                "A new certificate, key or CA bundle needs no restart and costs no call; one that is not sound "
                "changes nothing and is told."
            ),
            code=("src/secure_rpc/tls/reload.py", "src/secure_rpc/tls/soundness.py", "src/secure_rpc/watching.py"),
            tests=(
                "tests/integration/secure_rpc/test_certificates_in_time.py::test_a_leaf_and_then_a_ca_are_replaced_under_load_and_no_call_fails",
                "tests/integration/secure_rpc/test_certificates_in_time.py::test_files_that_are_not_sound_change_nothing_and_are_told",
                "tests/unit/secure_rpc/tls/test_reload.py::test_what_is_not_sound_leaves_the_last_good_ones",
            ),
            metrics=("secure_rpc_certificate_reloads_total",),
            alerts=("CertificateReloadRefused",),
            runbooks=("certificate-rotation",),
            drills=("rotation", "certificate-expiry"),
            checks=("certificates-renewed",),
        ),
        Control(
            id="A6",
            title="A CA is replaced with an overlap",
            text=(
                "The new CA is trusted before it signs, the old one until nothing shows it; steps out of order are "
                "refused."
            ),
            code=(
                "src/secure_rpc/dev/rotation.py",
                "src/secure_rpc/trust.py",
                "src/secure_rpc/drills/rotation.py",
                "deploy/overlays/prod/trust.yaml",
            ),
            tests=(
                "tests/unit/secure_rpc/dev/test_rotation.py::test_the_new_ca_is_trusted_before_it_signs_and_the_old_one_until_it_does_not",
                "tests/unit/secure_rpc/test_trust.py::test_a_ca_that_is_gone_vouches_for_nobody_and_one_that_is_new_does",
                "tests/integration/secure_rpc/test_drills.py::test_certificates_ca_policy_and_workers_are_replaced_under_load_and_no_call_fails",
            ),
            metrics=("secure_rpc_certificate_reloads_total",),
            alerts=("CertificateReloadRefused",),
            runbooks=("ca-rotation",),
            drills=("rotation",),
        ),
        Control(
            id="A7",
            title="What was let in can be taken back",
            text=(
                "Certificates, workloads, users, tokens and all of an issuer can be revoked, for all replicas; open"
                " streams end within a second."
            ),
            code=(
                "src/secure_rpc/identity/revocation.py",
                "src/secure_rpc/identity/crl.py",
                "src/secure_rpc/identity/deny_list.py",
                "src/secure_rpc/identity/shared_revocations.py",
                "src/secure_rpc/trust.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_revocations.py::test_a_revoked_credential_is_refused_its_stream_ends_and_nobody_elses_does",
                "tests/integration/secure_rpc/test_shared_revocations.py::test_what_is_revoked_once_is_refused_by_two_replicas_and_its_streams_end_within_a_second",
                "tests/integration/secure_rpc/test_certificates_in_time.py::test_a_session_is_resumed_until_its_ticket_is_ended",
                "tests/attack/test_certificates.py::test_a_certificate_that_expires_on_an_open_connection_is_refused_from_then_on",
            ),
            metrics=(
                "secure_rpc_revocations",
                "secure_rpc_revocations_age_seconds",
                "secure_rpc_revocation_reloads_total",
                "secure_rpc_revocations_malformed",
                "secure_rpc_crl_next_update_timestamp_seconds",
            ),
            alerts=("RevocationsStale",),
            runbooks=("revocation", "emergency-token-revocation", "key-compromise"),
            drills=("key-compromise",),
            checks=("deny-list", "crls", "revocation-stale", "running-revocations"),
        ),
        Control(
            id="A8",
            title="Downgrades are counted",
            text="Failed handshakes are counted by reason, from what the core of gRPC says of them.",
            code=("src/secure_rpc/telemetry/handshakes.py",),
            tests=(
                "tests/unit/secure_rpc/telemetry/test_handshakes.py::test_failures_are_counted_by_reason_and_begin_at_zero",
                "tests/integration/secure_rpc/test_indicators.py::test_failed_handshakes_count_and_those_for_want_of_a_certificate_as_failures_of_mutual_tls",
                "tests/integration/secure_rpc/test_workers.py::test_failed_handshakes_are_counted_by_reason",
            ),
            metrics=("grpc_server_tls_handshake_failures_total", "secure_rpc_mtls_failures_total"),
            alerts=("TlsHandshakesFailEnMasse",),
            drills=("protocol-downgrade",),
        ),
        Control(
            id="A9",
            title="The end of each certificate is known",
            text="Leaf, CAs and federated CAs in use each have their end in the numbers.",
            code=("src/secure_rpc/trust.py", "src/secure_rpc/telemetry/metrics.py"),
            tests=(
                "tests/unit/secure_rpc/test_trust.py::test_each_certificate_in_use_has_its_end_in_the_metrics_and_none_that_is_gone",
                "tests/integration/secure_rpc/test_indicators.py::test_the_end_of_the_servers_certificate_is_told_and_moves_with_its_renewal",
            ),
            metrics=("secure_rpc_certificate_not_after_timestamp_seconds",),
            alerts=("CertificateExpiresWithinADay", "CertificateExpiresSoon"),
            runbooks=("certificate-rotation",),
            drills=("certificate-expiry",),
            checks=("certificates-last", "running-certificates"),
        ),
        Control(
            id="A10",
            title="Connections have limits",
            text=(
                "Handshakes, silence, age, streams, headers and messages each have a limit that an abusive client "
                "meets."
            ),
            code=("src/secure_rpc/server.py", "src/secure_rpc/sections.py", "src/secure_rpc/stages/load_limit.py"),
            tests=(
                "tests/attack/test_connections.py::test_silent_connections_are_closed_in_time_and_cannot_use_up_all_that_there_may_be",
                "tests/attack/test_metadata.py::test_more_streams_than_a_connection_may_have_are_cut_off_before_they_reach_anything",
                "tests/attack/test_metadata.py::test_metadata_over_the_limit_are_refused_by_us_and_recorded",
                "tests/attack/test_messages.py::test_an_announced_gigabyte_is_not_waited_for",
            ),
            metrics=("secure_rpc_refusals_total",),
            checks=("message-size", "connections-end"),
            note="No alert of its own: where it hurts others, an error budget burns (F6).",
        ),
        Control(
            id="A11",
            title="Clients go on across renewals",
            text="A client keeps one connection, takes up its own new certificate, and loses no call.",
            code=("src/secure_rpc/client_channel.py", "src/secure_rpc/client.py", "src/secure_rpc/tls/renewal.py"),
            tests=(
                "tests/unit/secure_rpc/test_client_channel.py::test_no_call_is_lost_in_five_renewals",
                "tests/unit/secure_rpc/test_client_channel_refusals.py::test_a_certificate_that_the_server_does_not_take_is_not_used",
                "tests/integration/secure_rpc/test_client.py::test_calls_go_to_all_servers_in_turn_and_the_loss_of_one_is_not_noticed",
            ),
            drills=("rotation",),
            note="The numbers of a client are those of the service that it calls.",
        ),
        Control(
            id="A12",
            title="Weak certificates count nothing",
            text="Short RSA keys, SHA-1 and CAs shown as leaves are refused even where their chain verifies.",
            code=("src/secure_rpc/tls/soundness.py", "src/secure_rpc/identity/certificate.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_certificate.py::test_a_weak_rsa_key_is_refused_and_one_of_2048_bits_is_not",
                "tests/unit/secure_rpc/identity/test_certificate.py::test_a_broken_hash_is_refused",
                "tests/unit/secure_rpc/identity/test_certificate.py::test_an_authority_is_no_client",
                "tests/unit/secure_rpc/tls/test_soundness.py::test_keys_that_fail_every_handshake_or_are_weak_are_refused",
                "tests/integration/secure_rpc/test_indicators.py::test_certificates_that_the_handshake_lets_in_and_the_call_does_not_count",
            ),
            metrics=("secure_rpc_mtls_failures_total",),
        ),
        Control(
            id="A13",
            title="No call ends the service",
            text=(
                "Paths that are no text, metadata before settings and malformed frames are answered or cut; a "
                "process that ends is replaced within a second."
            ),
            code=(
                "src/secure_rpc/serving.py",
                "src/secure_rpc/workers/supervisor.py",
                "src/secure_rpc/workers/process.py",
            ),
            tests=(
                "tests/unit/secure_rpc/test_serving.py::test_a_hundred_paths_that_are_not_utf8_disturb_no_one",
                "tests/attack/test_unknown_methods.py::test_paths_that_are_not_utf8_end_nothing_and_are_recorded",
                "tests/attack/test_metadata.py::test_metadata_sent_before_the_servers_settings_are_acknowledged_are_refused_and_recorded",
                "tests/integration/secure_rpc/test_workers.py::test_a_killed_worker_is_replaced_within_a_second_and_calls_go_on",
                "tests/integration/secure_rpc/test_workers.py::test_no_caller_notices_the_calls_that_end_a_serving_loop",
            ),
            metrics=("secure_rpc_workers_ready", "secure_rpc_worker_restarts_total"),
            alerts=("WorkersRestart", "WorkersCrashLoop", "ServiceDown", "NoReplicaReady"),
            drills=("loop-crash",),
            checks=("serving-loop", "running-workers"),
        ),
    ),
)
