"""Controls: identity."""

from __future__ import annotations

from secure_rpc.controls.control import Area, Control

AREA = Area(
    "Identity",
    "Who is calling: a workload, and where there is one its user.",
    (
        Control(
            id="B1",
            title="Workloads by their certificate",
            text=(
                "One SPIFFE ID of a trust domain that its own CA vouches for; other names only where a setting says so."
            ),
            code=("src/secure_rpc/identity/certificate.py", "src/secure_rpc/spiffe.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_certificate.py::test_anything_but_one_spiffe_id_of_ours_is_nobody",
                "tests/unit/secure_rpc/identity/test_certificate_federation.py::test_no_ca_vouches_for_the_workloads_of_another_domain",
                "tests/unit/secure_rpc/identity/test_certificate_names.py::test_a_bad_spiffe_id_is_not_made_up_for_by_another_name",
                "tests/attack/test_certificates.py::test_a_certificate_is_refused_by_every_kind_of_method_public_ones_included",
                "tests/attack/test_federation.py::test_a_partners_ca_cannot_vouch_for_our_workloads",
            ),
            metrics=("secure_rpc_mtls_failures_total",),
            drills=("federation",),
        ),
        Control(
            id="B2",
            title="Users by tokens that are verified here",
            text=(
                "Signature, algorithm, issuer, audience, times, type and size are each held against what the issuer"
                " is configured for."
            ),
            code=(
                "src/secure_rpc/identity/token.py",
                "src/secure_rpc/identity/tokens.py",
                "src/secure_rpc/identity/issuer.py",
            ),
            tests=(
                "tests/attack/test_tokens.py::test_a_token_is_not_believed_however_often_it_is_shown",
                "tests/attack/test_tokens.py::test_a_token_is_believed_by_no_kind_of_method",
                "tests/attack/test_authorization_headers.py::test_two_authorization_headers_are_refused_whichever_is_good",
                "tests/unit/secure_rpc/identity/test_parsers_fuzzed.py::test_a_token_that_was_damaged_on_the_way_is_not_believed",
            ),
            metrics=("secure_rpc_token_validations_total", "secure_rpc_token_validation_failures_total"),
            alerts=("KeyCompromiseSuspected", "ErrorBudgetBurnsFast"),
            drills=("token-forgery", "clock-skew"),
            checks=("audiences", "token-types", "token-leeway", "running-clock"),
        ),
        Control(
            id="B3",
            title="Keys of issuers are fresh",
            text=(
                "Fetched by https in the background; made-up key ids do not reach the issuer; keys that are too old"
                " are used no more."
            ),
            code=(
                "src/secure_rpc/identity/key_store.py",
                "src/secure_rpc/identity/fetching.py",
                "src/secure_rpc/identity/jwks.py",
            ),
            tests=(
                "tests/unit/secure_rpc/identity/test_key_store.py::test_2000_bogus_ids_make_no_more_than_one_fetch_in_each_interval",
                "tests/unit/secure_rpc/identity/test_tokens.py::test_keys_that_are_too_old_are_used_no_more_nor_what_was_verified_by_them",
                "tests/attack/test_issuer_floods.py::test_a_storm_of_bogus_key_ids_does_not_reach_the_issuer",
                "tests/attack/test_issuer_floods.py::test_a_redirect_to_keys_of_the_attackers_own_is_not_followed",
            ),
            template_tests=("tests/test_oidc_keys.py::test_a_retired_key_counts_no_more",),
            metrics=("secure_rpc_issuer_keys_age_seconds", "secure_rpc_issuer_key_fetches"),
            alerts=("IssuerKeysAge", "IssuerKeysNearTheirLimit"),
            runbooks=("issuer-keys-outage",),
            drills=("issuer-slow", "issuer-down"),
            checks=("issuer-keys", "issuer-keys-age", "issuer-ca", "running-issuer-keys"),
        ),
        Control(
            id="B4",
            title="Several issuers, each for itself",
            text="Each has its own audience, algorithms, claims and trust domain; none can speak for another.",
            code=("src/secure_rpc/identity/issuer.py", "src/secure_rpc/identity/tokens.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_tokens.py::test_the_tokens_of_one_issuer_are_refused_for_another",
                "tests/attack/test_federation.py::test_a_partners_issuer_cannot_speak_for_ours",
                "tests/attack/test_federation.py::test_the_same_subject_of_two_issuers_is_two_people",
            ),
            template_tests=("tests/test_oidc_provider.py::test_an_issuer_cannot_speak_for_another",),
            metrics=("secure_rpc_token_validation_failures_total",),
            drills=("federation",),
            checks=("audiences",),
        ),
        Control(
            id="B5",
            title="Opaque tokens are asked about",
            text="By RFC 7662, once however many wait, with a deadline; without an answer nobody is believed.",
            code=("src/secure_rpc/identity/introspection.py", "src/secure_rpc/identity/fetching.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_introspection.py::test_without_an_answer_nobody_is_believed_and_nothing_remembered",
                "tests/unit/secure_rpc/identity/test_introspection_memory.py::test_300_who_wait_for_the_same_token_make_one_request",
                "tests/attack/test_issuer_floods.py::test_an_issuer_that_cannot_answer_makes_nobody_believed",
                "tests/attack/test_issuer_floods.py::test_a_flood_of_guessed_tokens_finds_nothing_and_fills_no_memory",
            ),
            template_tests=("tests/test_oidc_provider.py::test_an_opaque_token_is_asked_about_once_however_many_wait",),
            metrics=("secure_rpc_introspection_duration_seconds", "secure_rpc_token_validation_failures_total"),
            alerts=("ErrorBudgetBurnsFast",),
            drills=("issuer-slow",),
            checks=("token-lives",),
        ),
        Control(
            id="B6",
            title="API keys are hashes here",
            text=(
                "Kept by id and hash, compared in constant time, with an end, and with an overlap when they are "
                "replaced."
            ),
            code=("src/secure_rpc/identity/api_key.py", "src/secure_rpc/cli/api_keys.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_api_key.py::test_no_secret_is_kept",
                "tests/unit/secure_rpc/identity/test_api_key.py::test_two_keys_of_one_subject_are_valid_together",
                "tests/unit/secure_rpc/identity/test_api_key.py::test_an_unknown_id_costs_the_same_work_as_a_wrong_secret",
                "tests/attack/test_api_keys.py::test_a_flood_of_guesses_finds_nothing_and_is_remembered_by_nobody",
            ),
            metrics=("secure_rpc_api_key_file_failures_total",),
            checks=("api-keys",),
        ),
        Control(
            id="B7",
            title="A stolen token is worth nothing",
            text=(
                "Tokens that are bound to a certificate (RFC 8705) count from its holder alone; each issuer can be "
                "told to take no others."
            ),
            code=("src/secure_rpc/identity/token.py", "src/secure_rpc/identity/tokens.py"),
            tests=(
                "tests/attack/test_stolen_tokens.py::test_a_stolen_token_is_worth_nothing_from_another_client",
                "tests/attack/test_stolen_tokens.py::test_a_token_that_is_not_bound_is_refused_where_each_must_be",
            ),
            metrics=("secure_rpc_token_validation_failures_total",),
            alerts=("KeyCompromiseSuspected",),
            runbooks=("key-compromise",),
            checks=("two-proofs", "tokens-bound"),
        ),
        Control(
            id="B8",
            title="What is remembered does not outlive its proof",
            text=(
                "Verified identities are bounded in number, end with the token, and are looked at again after "
                "revocations and retired keys."
            ),
            code=("src/secure_rpc/known.py", "src/secure_rpc/identity/principal.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_principal.py::test_nobody_is_known_beyond_the_end_of_the_token",
                "tests/unit/secure_rpc/identity/test_principal.py::test_a_token_is_known_only_together_with_its_certificate",
                "tests/attack/test_tokens.py::test_a_token_that_was_believed_is_refused_once_it_has_expired",
                "tests/attack/test_issuer_floods.py::test_a_key_that_the_issuer_has_retired_is_believed_no_more_not_even_by_memory",
            ),
            metrics=("secure_rpc_identity_cache_uses",),
        ),
        Control(
            id="B9",
            title="One principal",
            text=(
                "Workload, user, tenants, groups and claims are one value; where they stand in a token is "
                "configuration."
            ),
            code=("src/secure_rpc/identity/principal.py", "src/secure_rpc/caller.py"),
            tests=(
                "tests/unit/secure_rpc/identity/test_principal.py::test_certificate_and_token_make_one_principal",
                "tests/unit/secure_rpc/identity/test_tokens.py::test_each_issuer_calls_its_claims_what_it_likes",
                "tests/attack/test_certificates.py::test_a_token_makes_up_for_no_certificate_and_a_certificate_for_no_token",
            ),
            checks=("two-proofs",),
            note="No number: what is wrong with it is counted by its proofs (B1, B2).",
        ),
        Control(
            id="B10",
            title="A provider's token becomes a short one of ours",
            text=(
                "Exchanged in the form of RFC 8693, for an audience that is ours to give, never for longer than the"
                " one that was given. An edge can do so for its callers: it fails closed, and theirs go no further."
            ),
            code=(
                "src/secure_rpc/exchange.py",
                "src/secure_rpc/edge/exchange.py",
                "src/secure_rpc/edge/exchange_port.py",
                "proto/secure_rpc/v1/exchange.proto",
            ),
            tests=(
                "tests/unit/secure_rpc/test_exchange.py::test_a_token_never_outlives_the_one_that_was_given_not_even_by_the_leeway",
                "tests/unit/secure_rpc/test_exchange.py::test_an_audience_that_is_not_ours_to_give_is_refused",
                "tests/unit/secure_rpc/test_exchange.py::test_a_bound_token_is_not_exchanged_not_even_by_its_holder",
            ),
            template_tests=(
                "tests/test_oidc_provider.py::test_a_token_is_exchanged_for_one_of_the_services_own",
                "tests/test_edge_exchange.py::test_a_token_that_is_no_good_is_not_exchanged",
            ),
            metrics=(
                "secure_rpc_edge_exchange_remembered_tokens",
                "secure_rpc_edge_exchanges_total",
                "secure_rpc_refusals_total",
            ),
            checks=("token-lives",),
            note="A client asks for it; Envoy does not do it by itself.",
        ),
        Control(
            id="B11",
            title="Clients show no credential in the open",
            text="Credentials go with each call, over TLS alone, and are renewed before they end.",
            code=("src/secure_rpc/client.py", "src/secure_rpc/token_sources.py", "src/secure_rpc/client_config.py"),
            tests=(
                "tests/unit/secure_rpc/test_client_plaintext.py::test_a_credential_that_was_written_by_hand_is_not_sent",
                "tests/unit/secure_rpc/test_client.py::test_no_token_is_sent_to_a_server_without_tls",
                "tests/unit/secure_rpc/test_token_sources.py::test_the_next_one_is_fetched_ahead_while_the_old_one_serves",
            ),
            note="It is a matter of the caller's process, which has numbers of its own.",
        ),
        Control(
            id="B12",
            title="Public methods are named",
            text="Health alone is open, to any sound certificate; everything else needs an identity.",
            code=(
                "src/secure_rpc/policy/contract.py",
                "src/secure_rpc/health.py",
                "src/secure_rpc/stages/authentication.py",
            ),
            tests=(
                "tests/unit/secure_rpc/stages/test_access.py::test_only_public_methods_and_those_that_do_not_exist_go_without_authorization",
                "tests/unit/secure_rpc/stages/test_access.py::test_a_public_method_asks_for_a_sound_certificate_and_makes_no_principal",
                "tests/attack/test_unknown_methods.py::test_an_unknown_method_answers_those_it_knows_and_nobody_else",
                "tests/integration/secure_rpc/test_reflection.py::test_nobody_else_is_told_anything",
            ),
            metrics=("secure_rpc_refusals_total",),
            checks=("public-methods", "reflection"),
        ),
    ),
)
