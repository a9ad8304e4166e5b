"""The table of cases: what is misspelt in it is told with file, line and remedy, and tries nothing in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy.cases import Trial, parse

from support.policy_ground import ground_in
from support.target import ISSUER

HEAD = f"""\
version: 1
now: 2026-01-01T12:00:00Z
principals:
  alice: {{ issuer: "{ISSUER}", subject: alice, groups: [callers], tenants: [acme] }}
  bob: {{ issuer: "{ISSUER}", subject: bob, workload: spiffe://example.org/bob }}
  batch: {{ workload: spiffe://example.org/batch }}
cases:
"""


def trials(folder: Path, case: str, head: str = HEAD) -> list[Trial]:
    ground = ground_in(folder)
    document = parse(Path("policy_test.yaml"), f"{head}  - {{ {case} }}\n")
    return document.trials([*ground.methods, *ground.others], ground.known)


def problem(folder: Path, case: str, head: str = HEAD) -> str:
    with pytest.raises(ConfigurationError) as caught:
        trials(folder, case, head)
    [told] = caught.value.problems
    return told


def test_each_principal_calls_each_method_for_each_tenant(tmp_path: Path) -> None:
    case = "principals: [alice, bob], methods: [Unary, TenantUnary], tenants: [acme, globex], expect: deny"
    found = [(each.principal, each.question.method.path[-5:], each.question.tenant) for each in trials(tmp_path, case)]
    assert found == [
        ("alice", "Unary", ""),
        ("bob", "Unary", ""),
        ("alice", "Unary", "acme"),
        ("bob", "Unary", "acme"),
        ("alice", "Unary", "globex"),
        ("bob", "Unary", "globex"),
    ]


def test_a_trial_has_its_request_its_metadata_and_its_time(tmp_path: Path) -> None:
    case = (
        "principals: alice, methods: /probe.v1.ProbeService/TenantUnary, request: { tenant: acme, count: 2 }, "
        "metadata: { X-Reason: cleanup }, now: 2026-02-01T00:00:00+01:00, expect: allow, rule: callers"
    )
    [trial] = trials(tmp_path, case)
    assert (trial.question.tenant, trial.question.request and trial.question.request.count) == ("acme", 2)  # type: ignore[attr-defined]
    assert trial.question.metadata == (("x-reason", "cleanup"),)
    assert (trial.place, trial.now_seconds) == ("policy_test.yaml:8", 1_769_900_400.0)
    assert trial.question.principal.proofs == ("token",)


def test_proofs_follow_from_what_there_is(tmp_path: Path) -> None:
    found = trials(tmp_path, "principals: [alice, bob, batch], methods: Unary, expect: deny")
    assert [each.question.principal.proofs for each in found] == [
        ("token",),
        ("certificate", "token"),
        ("certificate",),
    ]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("principals: alise, methods: Unary, expect: deny", '8: no principal is named "alise"; did you mean "alice"?'),
        ("principals: alice, methods: Unry, expect: deny", '8: there is no method "Unry"; did you mean "Unary"?'),
        (
            "principals: alice, methods: /probe.v1.ProbeService/Unry, expect: deny",
            '8: there is no method "/probe.v1.ProbeService/Unry"; did you mean "/probe.v1.ProbeService/Unary"?',
        ),
        (
            "principals: alice, methods: Unary, request: { cuont: 1 }, expect: deny",
            '8: is no probe.v1.Ask: it has no field "cuont"; did you mean "count"?',
        ),
        (
            "principals: alice, methods: Unary, request: { count: many }, expect: deny",
            "8: is no probe.v1.Ask: Failed to parse count field",
        ),
        ("principals: alice, methods: TenantUnary, expect: deny", "8: TenantUnary touches the data of a tenant; name"),
        (
            "principals: alice, methods: TenantUnary, tenants: a, request: { tenant: b }, expect: deny",
            '8: the request has a "tenant" of its own; name the tenant once',
        ),
        (
            "principals: alice, methods: Unary, tenants: acme, expect: deny",
            "8: the requests of these methods name no tenant; remove it",
        ),
        (
            "principals: alice, method: Unary, methods: Unary, expect: deny",
            '8: "cases.0.method" is not known; did you mean "methods"?',
        ),
        ("principals: alice, methods: Unary", '8: "cases.0.expect" is missing; add it'),
        ("principals: [], methods: Unary, expect: deny", '8: "cases.0.principals" is []'),
        (
            "principals: alice, methods: Unary, expect: deny, rule: callers",
            '"rule" names the binding that allows; nothing is denied by one',
        ),
        (
            "principals: alice, methods: Unary, now: 2026-01-01T00:00:00, expect: deny",
            "should have timezone info",
        ),
    ],
)
def test_what_is_wrong_with_a_case_is_told(tmp_path: Path, case: str, told: str) -> None:
    said = problem(tmp_path, case)
    assert said.startswith("policy_test.yaml:8")
    assert told in said


@pytest.mark.parametrize(
    ("somebody", "told"),
    [
        ("{ subject: x }", '"issuer" and "subject" come together'),
        ("{ issuer: x }", '"issuer" and "subject" come together'),
        ("{ groups: [x] }", 'name an "issuer" and a "subject", a "workload", or all three'),
        ("{ workload: spiffe://example.org/x, groups: [x] }", "stand in tokens"),
        ("{ workload: spiffe://example.org/* }", "without a star"),
        ("{ workload: nobody }", "is a SPIFFE ID"),
        ("{ workload: spiffe://example.org }", "names a trust domain and no workload"),
        ("{ workload: spiffe://exampel.org/x }", 'the settings have no trust domain "exampel.org"; did you mean'),
        (
            "{ issuer: https://isuer.example.org, subject: x }",
            'the settings have no issuer "https://isuer.example.org"',
        ),
        ("{ isuer: x, subject: x }", 'is not known; did you mean "issuer"?'),
    ],
)
def test_what_is_wrong_with_a_principal_is_told(tmp_path: Path, somebody: str, told: str) -> None:
    head = HEAD.replace("cases:\n", f"  odd: {somebody}\ncases:\n")
    said = problem(tmp_path, "principals: alice, methods: Unary, expect: deny", head)
    assert said.startswith("policy_test.yaml:7")
    assert told in said
