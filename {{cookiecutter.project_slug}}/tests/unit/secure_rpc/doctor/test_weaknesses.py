"""Each weakness that is planted in a hardened service turns one check from passed to failed, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest

from secure_rpc.call import Contract, Method
from secure_rpc.dev.authority import Authority, server_request
from secure_rpc.doctor.catalogue import CONFIGURED
from secure_rpc.doctor.checks import Level, Status
from secure_rpc.method import Patience

from probe.v1 import probe_pb2
from support.postures import DOMAIN, ISSUER, NAME, Posture, of_status

Plant: TypeAlias = Callable[[Posture], None]
DEPLOYMENT, SCALING = "deploy/base/deployment.yaml", "deploy/base/scaling.yaml"
NETWORKS, CERTIFICATES = "deploy/base/network-policies.yaml", "deploy/base/certificates.yaml"
STATE, OVERLAY = "deploy/components/redis/state.yaml", "deploy/overlays/prod/kustomization.yaml"

SETTINGS: tuple[tuple[str, str, Any], ...] = (
    ("environment", "service.environment", "development"),
    ("development-files", "revocation.deny_list_file", ".dev/deny.yaml"),
    ("tls-floor", "tls.minimum_version", "TLSv1.2"),
    ("reflection", "reflection.enabled", True),
    ("connections-end", "limits.connection_age_seconds", 86_400),
    ("connections-end", "tls.ticket_lifetime_seconds", 86_400),
    ("serving-loop", "serving_loop", "grpc"),
    ("admin-scrapers", "admin.allowed_workloads", ["spiffe://elsewhere.org/ns/x/sa/y"]),
    ("two-proofs", "authentication.credentials", ["both", "token", "api_key"]),
    ("audiences", "authentication.issuers.0.audiences", [NAME, "account"]),
    ("audiences", "authentication.issuers.0.audiences", [ISSUER]),
    ("deny-list", "revocation.deny_list_file", None),
    ("token-types", "authentication.issuers.0.types", ["at+jwt", "jwt"]),
    ("token-leeway", "authentication.issuers.0.leeway_seconds", 300),
    ("issuer-keys-age", "authentication.issuers.0.keys", {"stale_limit_seconds": 86_400}),
    ("token-lives", "authentication.issuers.0.introspection.cache_seconds", 600),
    ("revocation-stale", "revocation.refuse_when_crl_stale", False),
    ("revocation-stale", "revocation.refuse_when_shared_stale", False),
    ("crls", "revocation.crl_files", []),
    ("tokens-bound", "authentication.issuers.0.certificate_bound", False),
    ("issuer-ca", "authentication.issuers.0.fetch", {}),
    ("quotas", "quotas.default.calls", 100_000),
    ("quotas-shared", "quota_scope", "worker"),
    ("load-limit", "load.adaptive", False),
    ("load-share", "load.max_concurrent_calls_per_peer", 1000),
    ("message-size", "limits.max_request_bytes", 104_857_600),
    ("deadlines", "limits.default_deadline_seconds", 0),
    ("deadlines", "limits.max_deadline_seconds", 0),
    ("stream-rate", "limits.stream_messages_per_second", 0),
    ("session-review", "sessions.review_seconds", 0),
    ("session-ends", "sessions.end_when_store_away", False),
    ("audit-refuses", "audit.refuse_when_unwritable", False),
    ("audit-signed", "audit.checkpoint_key_file", None),
    ("audit-retention", "audit.retain_seconds", 0),
    ("audit-durable", "audit.durability", "deferred"),
    ("audit-sealed", "audit.recipient_file", None),
    ("log-format", "logging.format", "console"),
    ("log-level", "logging.level", "debug"),
    ("log-level", "logging.level", "warning"),
    ("tracing-tls", "tracing", {"otlp_endpoint": "http://collector.example.org:4318", "allow_plaintext": True}),
)


def keys_from_a_file(posture: Posture) -> None:
    posture.set("authentication.issuers.0.jwks_url", None)
    posture.set("authentication.issuers.0.jwks_file", "jwks.json")


def another_key(posture: Posture) -> None:
    other = Authority.create("another").issue(server_request(NAME, DOMAIN))
    posture.write("certificates/server.key", other.key_pem.decode())


def a_certificate_that_ends_soon(posture: Posture) -> None:
    authority = Authority.create("of before", datetime.now(UTC) - timedelta(days=90))
    begun = datetime.now(UTC) - timedelta(days=88)
    request = replace(server_request(NAME, DOMAIN), not_before=begun, lifetime=timedelta(days=90))
    leaf = authority.issue(request)
    posture.write("certificates/ca.pem", authority.certificate_pem.decode())
    posture.write("certificates/server.pem", leaf.certificate_pem.decode())
    posture.write("certificates/server.key", leaf.key_pem.decode())


def an_api_key_for_years(posture: Posture) -> None:
    keys = posture.read("api_keys.yaml")
    keys["keys"]["batch1"]["expires"] = "2999-01-01T00:00:00+00:00"
    posture.write("api_keys.yaml", keys)


def no_cases(posture: Posture) -> None:
    table = posture.read("policy/policy_test.yaml")
    posture.write("policy/policy_test.yaml", {**table, "cases": table["cases"][:1]})


def binding(**changed: Any) -> Plant:
    return lambda posture: posture.policy(lambda data: data["bindings"][0].update(changed))


def principal(**who: str) -> Plant:
    return lambda posture: posture.policy(lambda data: data["bindings"][0]["principals"].append(who))


def another_user_for_ever(posture: Posture) -> None:
    posture.policy(lambda data: data["bindings"][0].update(tenants="own", expires=None))
    principal(issuer=ISSUER, subject="bob")(posture)


def role(name: str, permission: str) -> Plant:
    return lambda posture: posture.policy(lambda data: data["roles"][name].update(permissions=[permission]))


def a_role_of_nobody(posture: Posture) -> None:
    posture.policy(lambda data: data["roles"].update(ghost={}))


def a_method(path: str, contract: Contract) -> Plant:
    found = probe_pb2.DESCRIPTOR.services_by_name["SecretService"].methods_by_name["KeepOnce"]
    added = Method(path, Patience(1), request_streaming=False, response_streaming=False, contract=contract)
    secret = replace(added, descriptor=found if path.endswith("KeepOnce") else None)
    return lambda posture: posture.methods(lambda methods: [*methods, secret])


def a_write_that_can_be_made_again(posture: Posture) -> None:
    given = posture.read("policy/policy.yaml")["roles"]["caller"]["permissions"][0]
    a_method("/x.v1.Things/Make", Contract(any_permissions=(given, "things.write")))(posture)


def swapped(name: str, old: str, new: str) -> Plant:
    return lambda posture: posture.swap(name, old, new)


def written(name: str, content: str) -> Plant:
    return lambda posture: posture.write(name, content)


def added(name: str, line: str) -> Plant:
    return lambda posture: posture.write(name, (posture.folder / name).read_text(encoding="utf-8") + line)


def gone(name: str) -> Plant:
    return lambda posture: (posture.folder / name).unlink()


def a_page_less(posture: Posture) -> None:
    next(iter((posture.folder / "runbooks").iterdir())).unlink()


def releases(*names: str) -> Plant:
    return lambda posture: posture.template(*names)


WAIVER = "version: 1\nwaived:\n- {id: audit-sealed, reason: the key is being made, until: UNTIL}\n"
ACCESS = "automountServiceAccountToken"
PLANTED: tuple[tuple[str, Plant], ...] = (
    ("issuer-keys", keys_from_a_file),
    ("certificates-sound", another_key),
    ("certificates-last", a_certificate_that_ends_soon),
    ("api-keys", an_api_key_for_years),
    ("policy-sound", role("caller", "things.misspelt")),
    ("policy-tested", no_cases),
    ("policy-wildcards", principal(workload=f"spiffe://{DOMAIN}/ns/shop/sa/*")),
    ("policy-unused-roles", a_role_of_nobody),
    ("policy-unreachable", a_method("/x.v1.Things/Get", Contract(permissions=("things.read",)))),
    ("policy-ended", binding(expires="2001-06-01")),
    ("policy-persons", another_user_for_ever),
    ("policy-all-tenants", binding(expires=None)),
    ("public-methods", a_method("/x.v1.Things/Peek", Contract(public=True))),
    ("fields-encrypted", a_method("/x.v1.Secrets/KeepOnce", Contract(any_caller=True))),
    ("store-secured", swapped(STATE, "SECURE_RPC_STATE__CA_FILE", "SSL_CERT_FILE")),
    ("audit-kept", swapped(DEPLOYMENT, "persistentVolumeClaim:\n            claimName: audit", "emptyDir: {}")),
    ("drain", swapped(DEPLOYMENT, "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 20")),
    ("pod-security", swapped(DEPLOYMENT, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")),
    ("pod-security", swapped(DEPLOYMENT, "runAsNonRoot: true", "runAsNonRoot: false")),
    ("pod-security", swapped(DEPLOYMENT, "drop: [ALL]", "drop: []")),
    ("pod-security", swapped(DEPLOYMENT, f"{ACCESS}: false", f"{ACCESS}: true")),
    ("network-policies", swapped(NETWORKS, "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]")),
    ("replicas", swapped(SCALING, "minReplicas: 3", "minReplicas: 1")),
    ("replicas", swapped(SCALING, "kind: PodDisruptionBudget", "kind: ConfigMap")),
    ("certificates-renewed", swapped(CERTIFICATES, "rotationPolicy: Always", "rotationPolicy: Never")),
    ("certificates-renewed", swapped(CERTIFICATES, "duration: 720h0m0s", "duration: 8760h0m0s")),
    ("image-digest", swapped(OVERLAY, "digest: sha256:", "newTag: ")),
    ("alerts-built", swapped("observability/rules.yaml", "for: 2m", "for: 2h")),
    ("wall", added("src/secure_rpc/errors.py", "# changed\n")),
    ("wall", written("tests/attack/test_of_mine.py", "")),
    ("requirements-hashed", added("requirements/runtime.txt", "evil==1.0\n")),
    ("template-version", gone(".cruft.json")),
    ("template-current", releases("1.2.3", "1.3.0", "1.4.0")),
    ("template-current", releases("1.2.3", "2.0.0", "3.0.0")),
    ("waivers", written("doctor.yaml", WAIVER.replace("UNTIL", "2001-01-01"))),
    ("waivers", written("doctor.yaml", WAIVER.replace("UNTIL", "2999-01-01"))),
)
# what goes with it: runbooks are the platform's; one store remembers calls and counts them
PAGES = {"runbooks", "wall"}
# what a service may have none of: fields that are sensitive, methods that take a stream
OF_METHODS = {"fields-encrypted", "stream-rate"}
SHARED = ("replay-shared", {"replay-shared", "quotas-shared"}, swapped(OVERLAY, "- ../../components/redis\n", ""))


def test_a_hardened_service_passes_all_checks(posture: Posture) -> None:
    report = posture.report()
    bad = {result.check.id: result.said for result in report.results if not result.good}
    assert not bad
    assert report.grade is Level.ADVANCED
    assert report.next_steps == []
    assert of_status(report, Status.NOT_APPLICABLE) <= OF_METHODS


@pytest.mark.parametrize(("check", "key", "value"), SETTINGS, ids=[f"{each[0]}-{each[1]}" for each in SETTINGS])
def test_a_weak_setting_is_found(posture: Posture, check: str, key: str, value: object) -> None:
    if check in OF_METHODS & of_status(posture.report(), Status.NOT_APPLICABLE):
        pytest.skip("no method of this service is of the kind that the setting is for")
    posture.set(key, value)
    expect(posture, {check})


@pytest.mark.parametrize(("check", "plant"), PLANTED, ids=[f"{each[0]}-{n}" for n, each in enumerate(PLANTED)])
def test_a_weakness_is_found(posture: Posture, check: str, plant: Plant) -> None:
    plant(posture)
    expect(posture, {check})


def test_replicas_that_share_nothing_are_found(posture: Posture) -> None:
    _, expected, plant = SHARED
    plant(posture)
    expect(posture, expected)


def test_a_runbook_that_is_gone_is_found(posture: Posture) -> None:
    a_page_less(posture)
    expect(posture, PAGES)


def test_a_write_that_can_be_made_again_is_found(posture: Posture) -> None:
    a_write_that_can_be_made_again(posture)
    expect(posture, {"replay"})


def test_each_check_of_a_configuration_is_seen_to_fail() -> None:
    seen = {each[0] for each in (*SETTINGS, *PLANTED)} | SHARED[1] | PAGES | {"replay"}
    assert seen == {check.id for check in CONFIGURED}


def expect(posture: Posture, failed: set[str]) -> None:
    """Hold what fails against what was planted; the remedy says what to do, the finding what was seen."""
    report = posture.report()
    assert of_status(report, Status.FAILED) == failed, [each.said for each in report.results if not each.good]
    for result in report.results:
        if result.check.id in failed:
            assert result.said
            assert not report.holds(result.check.level)
