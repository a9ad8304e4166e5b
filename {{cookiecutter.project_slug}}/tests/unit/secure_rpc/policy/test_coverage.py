"""What cases find, and what no case speaks of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.call import Method
from secure_rpc.policy.cases import parse
from secure_rpc.policy.coverage import Report, Subject, run
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.engine import ANY_CALLER
from secure_rpc.policy.questions import PUBLIC, method_named

from support.policy_ground import CASES, asks, ground_in, policy_of
from support.target import ISSUER

GROUP = {"issuer": ISSUER, "group": "callers"}
CALLERS = {"name": "callers", "role": "caller", "principals": [GROUP], "tenants": "own"}
HEAD = CASES.partition("cases:\n")[0] + "cases:\n"


def tried(folder: Path, *bindings: dict[str, Any], cases: str = CASES, methods: list[Method] | None = None) -> Report:
    ground = ground_in(folder)
    document = policy_of({"caller": ["probe.call"], "read": ["x.read"], "write": ["x.write"]}, *bindings)
    return run_on(ground, document, cases, methods)


def run_on(ground: Any, document: PolicyDocument, cases: str, methods: list[Method] | None = None) -> Report:
    subject = Subject(document, ground.conditions, ground.methods if methods is None else methods, ground.others)
    return run(subject, parse(Path("policy_test.yaml"), cases), ground.known)


def missing(report: Report) -> list[str]:
    return [each.what for each in report.missing]


def test_a_table_that_holds_and_speaks_of_all_is_good(tmp_path: Path) -> None:
    report = tried(tmp_path, CALLERS)
    assert (report.good, report.failures, report.missing) == (True, [], ())
    assert (len(report.outcomes), report.methods, report.bindings) == (22, 10, 1)


def test_a_policy_that_gives_more_or_less_is_found_out(tmp_path: Path) -> None:
    more = tried(tmp_path, {**CALLERS, "tenants": "all"})
    assert {str(each.trial) for each in more.failures} == {
        "alice calls /probe.v1.ProbeService/TenantUnary for globex",
        "alice calls /probe.v1.ProbeService/TenantBidi for globex",
    }
    less = tried(tmp_path, {**CALLERS, "principals": [{"issuer": ISSUER, "group": "others"}]})
    assert {each.trial.principal for each in less.failures} == {"alice"}
    assert len(less.failures) == 10


def test_the_wrong_rule_fails_though_the_call_is_allowed(tmp_path: Path) -> None:
    cases = CASES + "  - { principals: alice, methods: Unary, expect: allow, rule: calers }\n"
    [failure] = tried(tmp_path, CALLERS, cases=cases).failures
    assert (failure.answer.allowed, failure.answer.rule) == (True, "callers")


def test_a_public_method_is_allowed_and_need_not_be_spoken_of(tmp_path: Path) -> None:
    cases = CASES + "  - { principals: mallory, methods: Public, expect: deny }\n"
    [failure] = tried(tmp_path, CALLERS, cases=cases).failures
    assert failure.answer.rule == PUBLIC


def test_a_method_open_to_any_caller_is_allowed_and_need_not_be_spoken_of(tmp_path: Path) -> None:
    assert tried(tmp_path, CALLERS).good
    cases = CASES + "  - { principals: mallory, methods: Refresh, expect: deny }\n"
    [failure] = tried(tmp_path, CALLERS, cases=cases).failures
    assert failure.answer.rule == ANY_CALLER


def test_a_method_without_an_allow_or_a_deny_is_missed_and_a_case_is_proposed(tmp_path: Path) -> None:
    cases = HEAD + CASES.partition("cases:\n")[2].replace("Bidi, BidiByReadWrite, ", "BidiByReadWrite, ")
    report = tried(tmp_path, CALLERS, cases=cases)
    assert [(each.what, each.add) for each in report.missing] == [
        ("Bidi: no case expects allow", "add - { principals: alice, methods: Bidi, expect: allow }"),
        ("Bidi: no case expects deny", "add - { principals: mallory, methods: Bidi, expect: deny }"),
    ]
    added = cases + "".join(f"  {each.add.removeprefix('add ')}\n" for each in report.missing)
    assert tried(tmp_path, CALLERS, cases=added).good


def test_a_case_is_proposed_only_where_somebody_is_there_for_it(tmp_path: Path) -> None:
    nobody = [
        each for each in tried(tmp_path, cases=HEAD.replace("cases:\n", "")).missing if each.what.endswith("allow")
    ]
    assert nobody[0].add.startswith("add a principal that may call it")


def test_a_binding_that_allows_nothing_in_the_table_is_missed(tmp_path: Path) -> None:
    other = {"name": "others", "role": "caller", "principals": [{"issuer": ISSUER, "group": "others"}]}
    ended = {**CALLERS, "name": "ended", "expires": "2025-12-31"}
    [first, second] = tried(tmp_path, CALLERS, other, ended).missing
    assert re.fullmatch(r"policy.yaml:\d+: others: no case that expects allow is allowed by it", first.what)
    assert first.add == f"add a case of group others of {ISSUER} that expects allow"
    assert second.add == "it has ended on 2025-12-31: give a case an earlier now, or remove it"


def test_a_binding_counts_though_another_gives_the_same(tmp_path: Path) -> None:
    twin = {**CALLERS, "name": "twin"}
    assert tried(tmp_path, CALLERS, twin).missing == ()


@pytest.fixture
def both(tmp_path: Path) -> list[Method]:
    """Return one method, that asks for two permissions."""
    return [asks(method_named("Unary", ground_in(tmp_path).methods), "x.read", "x.write")]


BOTH = HEAD + "  - { principals: alice, methods: Unary, expect: allow }\n"


def test_bindings_that_give_a_method_only_together_all_count(tmp_path: Path, both: list[Method]) -> None:
    read, write = ({"name": name, "role": name, "principals": [GROUP]} for name in ("read", "write"))
    again = {**write, "name": "write again"}
    report = tried(tmp_path, read, write, again, cases=BOTH, methods=both)
    assert missing(report) == ["Unary: no case expects deny"]


def test_a_binding_that_no_combination_needs_does_not_count(tmp_path: Path, both: list[Method]) -> None:
    read, write = ({"name": name, "role": name, "principals": [GROUP]} for name in ("read", "write"))
    other = {"name": "other", "role": "write", "principals": [{"issuer": ISSUER, "group": "others"}]}
    report = tried(tmp_path, read, write, other, cases=BOTH, methods=both)
    [_, told] = missing(report)
    assert re.fullmatch(r"policy.yaml:\d+: other: no case that expects allow is allowed by it", told)


def test_conditions_are_tried_with_the_request_the_metadata_and_the_time_of_the_case(tmp_path: Path) -> None:
    condition = 'request.count < 3 && metadata["x-reason"] == "cleanup" && now < timestamp("2026-06-01T00:00:00Z")'
    case = "  - { principals: alice, methods: Unary, expect: EXPECT, request: { count: C }, metadata: { x-reason: R }"
    lines = [
        (case + " }\n").replace("EXPECT", "allow").replace("C }", "2 }").replace("R }", "cleanup }"),
        (case + " }\n").replace("EXPECT", "deny").replace("C }", "3 }").replace("R }", "cleanup }"),
        (case + " }\n").replace("EXPECT", "deny").replace("C }", "2 }").replace("R }", "other }"),
        (case + ", now: 2026-06-01T00:00:00Z }\n")
        .replace("EXPECT", "deny")
        .replace("C }", "2 }")
        .replace("R }", "cleanup }"),
    ]
    report = tried(tmp_path, {**CALLERS, "condition": condition}, cases=HEAD + "".join(lines))
    assert (len(report.outcomes), report.failures) == (4, [])
