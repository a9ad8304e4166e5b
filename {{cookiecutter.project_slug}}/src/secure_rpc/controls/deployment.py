"""Controls: deployment and edge."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Deployment and edge",
    "Where it runs, and how others than workloads come to it.",
    (
        Control(
            id="G1",
            title="Pods may do nothing but serve",
            text=(
                "Read-only root, no rights, no token of the cluster; networks closed both ways; enough replicas and"
                " room to go."
            ),
            code=(
                "deploy/base/deployment.yaml",
                "deploy/base/network-policies.yaml",
                "deploy/base/scaling.yaml",
                "deploy/base/service-account.yaml",
            ),
            tests=(
                "tests/unit/secure_rpc/doctor/test_manifests.py::test_bases_components_and_patches_come_together",
                "tests/unit/secure_rpc/doctor/test_weaknesses.py::test_each_check_of_a_configuration_is_seen_to_fail",
            ),
            template_tests=(
                "tests/test_deploy.py::test_every_manifest_is_as_its_schema_has_it",
                "tests/test_deploy.py::test_checkov_finds_nothing_that_is_not_waived_with_a_reason",
            ),
            alerts=("ServiceDown", "NoReplicaReady"),
            runbooks=("restore-from-nothing",),
            checks=("pod-security", "network-policies", "replicas", "drain", "waivers"),
        ),
        Control(
            id="G2",
            title="Certificates are issued by a machine",
            text="cert-manager renews them in time with a new key; trust-manager keeps old and new CA side by side.",
            code=(
                "deploy/base/certificates.yaml",
                "deploy/overlays/prod/cluster-issuer.yaml",
                "deploy/overlays/prod/trust.yaml",
            ),
            tests=("tests/unit/secure_rpc/doctor/test_weaknesses.py::test_a_weakness_is_found",),
            template_tests=("tests/test_deploy.py::test_manifests_and_settings_agree",),
            metrics=("secure_rpc_certificate_not_after_timestamp_seconds",),
            alerts=("CertificateExpiresSoon", "CertificateExpiresWithinADay"),
            runbooks=("certificate-rotation", "ca-rotation"),
            checks=("certificates-renewed",),
        ),
        Control(
            id="G3",
            title="A mesh has the same policy",
            text=(
                "Rules of Istio and Linkerd are made from proto and policy, and are never narrower than the engine;"
                " what they cannot say is listed."
            ),
            code=(
                "src/secure_rpc/policy/export/istio.py",
                "src/secure_rpc/policy/export/linkerd.py",
                "src/secure_rpc/policy/export/envoy.py",
            ),
            tests=(
                "tests/unit/secure_rpc/policy/export/test_never_narrower.py::test_no_mesh_is_narrower_than_the_engine_and_envoy_is_no_wider",
            ),
            template_tests=(
                "tests/test_deploy.py::test_a_mesh_gets_the_policy_as_it_stands",
                "tests/test_policy_exports.py::test_envoy_decides_as_the_service_does",
            ),
            note="The service decides in any case, and counts there.",
        ),
        Control(
            id="G4",
            title="Probes tell the truth",
            text=(
                "Liveness and readiness on a port of their own; health by gRPC behind the chain; readiness follows "
                "drain, dependencies and revocations."
            ),
            code=(
                "src/secure_rpc/admin/port.py",
                "src/secure_rpc/admin/access.py",
                "src/secure_rpc/health.py",
                "src/secure_rpc/workers/reporting.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_admin.py::test_a_server_that_starts_or_drains_is_alive_and_not_ready",
                "tests/integration/secure_rpc/test_admin_exposure.py::test_the_port_of_the_probes_tells_no_numbers",
                "tests/integration/secure_rpc/test_health.py::test_checks_are_recorded_like_all_calls",
            ),
            metrics=("secure_rpc_workers_ready",),
            alerts=("NoReplicaReady",),
            checks=("running-ready", "drain"),
        ),
        Control(
            id="G5",
            title="An edge for browsers and partners",
            text=(
                "Envoy checks tokens, origins, sizes and rates, and calls the service by mutual TLS under one name;"
                " the service believes it in nothing else."
            ),
            code=(
                "src/secure_rpc/edge/building.py",
                "src/secure_rpc/edge/clusters.py",
                "src/secure_rpc/edge/filters.py",
                "src/secure_rpc/edge/listeners.py",
                "src/secure_rpc/edge/routes.py",
                "deploy/edge",
            ),
            tests=(
                "tests/unit/secure_rpc/edge/test_building.py::test_all_but_public_methods_and_the_page_need_a_token",
                "tests/unit/secure_rpc/edge/test_building.py::test_the_service_is_spoken_to_under_one_name",
            ),
            template_tests=(
                "tests/test_edge.py::test_what_the_service_refuses_it_refuses_through_the_edge",
                "tests/test_edge.py::test_a_page_of_another_origin_may_not",
                "tests/test_edge_attacks.py::test_no_header_of_a_caller_says_who_the_caller_is",
                "tests/test_edge_nginx.py::test_the_service_refuses_what_nginx_does_not_look_at",
            ),
            alerts=("EdgeRefusesOrigins", "EdgeCallersDoNotRead"),
            drills=("cors-failure", "proxy-buffer-full"),
            note="The numbers are Envoy's own.",
        ),
        Control(
            id="G6",
            title="A page that keeps no token",
            text="It logs in, calls and streams; tokens stay in memory, and no foreign script runs.",
            code=("browser/src/tokens.ts", "browser/src/login.ts", "browser/src/transport.ts"),
            template_tests=(
                "tests/test_browser.py::test_somebody_who_has_logged_in_calls_and_nothing_of_it_is_left_lying_about",
                "tests/test_browser.py::test_what_does_not_belong_to_the_page_does_not_run_in_it",
            ),
            note="A browser's errors are not ours to count.",
        ),
        Control(
            id="G7",
            title="Partners have their own trust domain",
            text="Each domain's CA and issuer vouch for their own alone.",
            code=(
                "src/secure_rpc/trust.py",
                "src/secure_rpc/identity/certificate.py",
                "src/secure_rpc/drills/federation.py",
            ),
            tests=(
                "tests/attack/test_federation.py::test_both_domains_are_served_by_their_own",
                "tests/attack/test_federation.py::test_a_partners_token_is_not_taken_of_our_workloads",
                "tests/integration/secure_rpc/test_drills.py::test_two_trust_domains_become_partners_and_neither_can_speak_for_the_other",
            ),
            metrics=("secure_rpc_mtls_failures_total",),
            drills=("federation",),
        ),
        Control(
            id="G8",
            title="An image of what was locked",
            text="Two stages, nobody's user, base by digest, nothing that compiles, and a list of what is in it.",
            code=("Dockerfile", "src/secure_rpc/sbom.py"),
            tests=(
                "tests/unit/secure_rpc/test_sbom.py::test_each_package_comes_with_all_hashes_of_the_lock",
                "tests/unit/secure_rpc/test_sbom.py::test_a_base_without_its_digest_is_refused",
            ),
            template_tests=(
                "tests/test_image.py::test_only_the_service_is_added_to_the_base_and_its_user_can_change_none_of_it",
                "tests/test_image.py::test_the_bill_of_materials_is_what_is_in_the_image",
            ),
            checks=("image-digest",),
            note="It is looked at when it is built.",
        ),
    ),
)
