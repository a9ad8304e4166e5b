"""Controls: operations and supply chain."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Operations and supply chain",
    "What people do, and what comes from others.",
    (
        Control(
            id="H1",
            title="Runbooks that work",
            text="One for each alert and procedure; their commands are run as printed.",
            code=("src/secure_rpc/drills/runbooks.py", "runbooks"),
            tests=(
                "tests/unit/secure_rpc/test_runbook_pages.py::test_each_alert_and_each_procedure_has_a_page_and_nothing_else_has",
                "tests/unit/secure_rpc/test_runbook_pages.py::test_every_command_of_the_service_has_these_options",
                "tests/integration/secure_rpc/test_runbooks.py::test_commands_are_run_at_all",
                "tests/integration/secure_rpc/test_runbook_procedures.py::test_what_a_page_does_ends_as_it_says",
            ),
            runbooks=("restore-from-nothing", "revocation"),
            checks=("runbooks",),
            note="Pages for people.",
        ),
        Control(
            id="H2",
            title="Checklists whose lines are proven",
            text="Before production, for readiness, in an incident: each line names the command that proves it.",
            code=("checklists", "src/secure_rpc/doctor/catalogue.py"),
            tests=(
                "tests/unit/secure_rpc/doctor/test_checklists.py::test_each_check_is_on_a_list_or_it_is_said_why_not",
                "tests/unit/secure_rpc/doctor/test_checklists.py::test_a_command_that_a_list_names_exists",
            ),
            checks=("environment",),
            note="Pages for people.",
        ),
        Control(
            id="H3",
            title="Drills",
            text="A fault is injected, seen by the real rules, mended by the runbook, and over.",
            code=(
                "src/secure_rpc/drills/catalogue.py",
                "src/secure_rpc/drills/watching.py",
                "src/secure_rpc/drills/story.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_drills_watched.py::test_the_fault_is_seen_the_runbook_helps_and_all_is_well_again",
                "tests/integration/secure_rpc/test_drills_watched.py::test_without_its_protection_a_drill_is_not_passed",
            ),
            runbooks=("game-day",),
            drills=(
                "rotation",
                "certificate-expiry",
                "protocol-downgrade",
                "policy-misconfiguration",
                "policy-rollback",
                "token-forgery",
                "token-expiry",
                "key-compromise",
                "clock-skew",
                "replay",
                "tenant-breach",
                "loop-crash",
                "issuer-slow",
                "issuer-down",
                "load-flood",
                "cors-failure",
                "proxy-buffer-full",
                "store-outage",
                "federation",
            ),
            note="Those on the edge need Envoy, which `make drill` installs.",
        ),
        Control(
            id="H4",
            title="People know what is theirs",
            text="Who owns what, severities, routines by week, month and quarter, and how to learn from it.",
            code=("runbooks/README.md", "runbooks/routines.md", "runbooks/postmortem.md", "CODEOWNERS"),
            tests=("tests/unit/secure_rpc/test_runbook_pages.py::test_the_index_has_every_page_and_the_link_to_it",),
            template_tests=("tests/test_bake.py::test_the_owner_of_each_part_can_be_found",),
            runbooks=("routines", "postmortem", "game-day"),
            note="Pages for people.",
        ),
        Control(
            id="H5",
            title="Each change is checked",
            text=(
                "Formatter, linters, types, floors, protos, platform files and tests, on GitHub and GitLab; the "
                "jobs may only read."
            ),
            code=("Makefile",),
            template_tests=(
                "tests/test_bake.py::test_ci_runs_the_checks_and_may_only_read",
                "tests/test_generated.py::test_it_passes_its_own_checks_and_is_left_as_it_was",
            ),
            note="It runs lint and tests; images, manifests and policy diffs are made by hand or by your pipeline.",
        ),
        Control(
            id="H6",
            title="What is installed is what was locked",
            text="Versions with hashes, owners of each part, and where to report a weakness.",
            code=("requirements/runtime.txt", "requirements/dev.txt", "CODEOWNERS", "SECURITY.md"),
            tests=("tests/unit/secure_rpc/doctor/test_weaknesses.py::test_a_weakness_is_found",),
            template_tests=(
                "tests/test_repository.py::test_a_lock_has_digests_for_everything_and_no_address",
                "tests/test_image.py::test_a_package_that_is_not_the_one_of_the_lock_is_not_installed",
            ),
            checks=("requirements-hashed",),
            note="Nothing here asks whether a locked version has a known weakness.",
        ),
        Control(
            id="H7",
            title="Posture on a ladder",
            text="doctor looks at settings, manifests and the running service, and says what the next rung needs.",
            code=(
                "src/secure_rpc/doctor/catalogue.py",
                "src/secure_rpc/doctor/grading.py",
                "src/secure_rpc/doctor/page.py",
                "src/secure_rpc/cli/doctor.py",
            ),
            tests=(
                "tests/integration/secure_rpc/test_doctor.py::test_a_service_that_runs_passes_all_and_a_changed_log_is_found",
                "tests/unit/secure_rpc/doctor/test_weaknesses.py::test_each_check_of_a_configuration_is_seen_to_fail",
                "tests/unit/secure_rpc/doctor/test_living.py::test_each_check_of_a_running_service_is_seen_to_fail",
            ),
            checks=("waivers",),
            note="It tells people and has no numbers.",
        ),
        Control(
            id="H8",
            title="Updates touch the platform alone",
            text="A newer template comes in without changing what is the team's; a changed platform file is seen.",
            code=("src/secure_rpc/wall.py", "src/secure_rpc/wall.sha256"),
            template_tests=(
                "tests/test_update.py::test_an_update_replaces_the_platform_and_keeps_what_is_the_services_own",
                "tests/test_update.py::test_a_patched_platform_file_that_the_update_changes_or_removes_is_seen",
            ),
            metrics=("secure_rpc_build_info",),
            checks=("wall", "template-version"),
        ),
    ),
)
