"""What nobody used, and what the log cannot tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.call import Method
from secure_rpc.policy.questions import method_named
from secure_rpc.policy.usage import Usage, UsageReader, unused

from support.policy_ground import asks, ground_in, policy_of
from support.target import ISSUER

START = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENT = policy_of(
    {"reader": ["x.read"], "writer": ["x.read", "x.write"], "idle": ["x.idle"]},
    {"name": "readers", "role": "reader", "principals": [{"issuer": ISSUER, "group": "readers"}]},
    {"role": "writer", "principals": [{"issuer": ISSUER, "group": "writers"}]},
    {"name": "batch", "role": "writer", "principals": [{"workload": "spiffe://example.org/jobs/*"}], "tenants": "all"},
)
POSITIONAL = "bindings[1] writer"


@pytest.fixture
def methods(tmp_path: Path) -> list[Method]:
    known = ground_in(tmp_path).methods
    return [
        asks(method_named("Unary", known), "x.read"),
        asks(method_named("Bidi", known), "x.write"),
        method_named("Public", known),
    ]


def record(rule: str, method: str = "Unary", *, day: int = 0, **other: str) -> dict[str, Any]:
    return {
        "time": (START + timedelta(days=day)).isoformat(),
        "method": f"/probe.v1.ProbeService/{method}",
        "code": "OK",
        "reason": "",
        "issuer": ISSUER,
        "subject": "alice",
        "workload": "",
        "rule": rule,
        "policy": DOCUMENT.version,
        **other,
    }


def use(methods: list[Method], *records: dict[str, Any], since: datetime | None = None) -> Usage:
    return UsageReader(DOCUMENT, methods, since).read(records)


def names(usage: Usage) -> list[str]:
    return [binding.rule for binding in unused(DOCUMENT, usage).bindings]


def test_without_a_call_everything_is_unused(methods: list[Method]) -> None:
    usage = use(methods)
    found = unused(DOCUMENT, usage)
    assert [binding.rule for binding in found.bindings] == ["readers", POSITIONAL, "batch"]
    assert (found.roles, found.permissions, found.parts) == (
        ("reader", "writer", "idle"),
        ("x.read", "x.write"),
        (),
    )


def test_what_was_used_is_not_told_and_what_was_used_in_part_is(methods: list[Method]) -> None:
    usage = use(methods, record("readers"), record(POSITIONAL, day=2), record("", "Public"))
    found = unused(DOCUMENT, usage)
    assert [binding.rule for binding in found.bindings] == ["batch"]
    assert [(part.binding.rule, part.used, part.unused) for part in found.parts] == [
        (POSITIONAL, ("x.read",), ("x.write",))
    ]
    assert (found.roles, found.permissions) == (("idle",), ("x.write",))
    assert (usage.calls, usage.allowed, usage.left_out, usage.days) == (3, 2, 0, 2.0)
    assert usage.versions == {DOCUMENT.version: 2}


@pytest.mark.parametrize(
    "refused",
    [
        record("no binding gives x.read", reason="PERMISSION_MISSING", code="PERMISSION_DENIED"),
        record("readers", reason="TENANT_DENIED", code="PERMISSION_DENIED"),
        record("readers", reason="TENANT_MISSING", code="INVALID_ARGUMENT"),
        record("", reason="TOKEN_MISSING", code="UNAUTHENTICATED"),
        record("readers", "Gone"),
    ],
    ids=lambda each: each["reason"] or "a method that is gone",
)
def test_a_call_that_the_policy_refused_uses_nothing(methods: list[Method], refused: dict[str, Any]) -> None:
    assert "readers" in names(use(methods, refused))


def test_a_call_that_failed_after_it_was_allowed_is_a_use(methods: list[Method]) -> None:
    assert "readers" not in names(use(methods, record("readers", code="NOT_FOUND", reason="NOT_FOUND")))


def test_of_other_versions_a_name_counts_and_a_position_is_left_out(methods: list[Method]) -> None:
    usage = use(methods, record("readers", policy="older"), record(POSITIONAL, policy="older"))
    assert names(usage) == [POSITIONAL, "batch"]
    assert (usage.allowed, usage.left_out) == (2, 1)
    assert usage.versions == {"older": 2}


def test_a_binding_of_workloads_or_users_counts_where_another_was_named(methods: list[Method]) -> None:
    job: dict[str, Any] = {"issuer": "", "subject": "", "workload": "spiffe://example.org/jobs/nightly"}
    assert names(use(methods, record("bindings[9] old", policy="older", **job))) == ["readers", POSITIONAL]
    user: dict[str, Any] = {**job, "issuer": ISSUER, "subject": "alice"}  # through the job's workload, with a token
    assert "batch" in names(use(methods, record("readers", **user)))


def test_only_the_days_asked_for_count(methods: list[Method]) -> None:
    usage = use(methods, record("readers"), record(POSITIONAL, day=5), since=START + timedelta(days=1))
    assert (usage.calls, names(usage)) == (1, ["readers", "batch"])
