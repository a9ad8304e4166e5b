"""A difference is what somebody gains or loses, however it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_rpc.call import Method
from secure_rpc.policy.comparison import MAX_MARKDOWN_CHARACTERS, Change, compare, markdown
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.questions import method_named

from support.policy_ground import asks, ground_in, policy_of

ISSUER = "https://issuer.example.org"
A, B = {"issuer": ISSUER, "group": "a"}, {"issuer": ISSUER, "group": "b"}
ROLES = {"r": ["x.read"], "w": ["x.write"], "rw": ["x.read", "x.write"], "f": ["f.go"]}


@pytest.fixture
def methods(tmp_path: Path) -> list[Method]:
    """Return methods that ask for one permission, for two, and for one that no tenant comes with."""
    known = ground_in(tmp_path).methods
    return [
        asks(method_named("TenantUnary", known), "x.read"),
        asks(method_named("TenantBidi", known), "x.read", "x.write"),
        asks(method_named("Unary", known), "f.go"),
    ]


def policy(*bindings: dict[str, Any]) -> PolicyDocument:
    return policy_of(ROLES, *bindings)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"role": "rw", "principals": [A]}], [{"role": "r", "principals": [A]}, {"role": "w", "principals": [A]}]),
        (
            [{"role": "r", "principals": [A], "tenants": ["acme", "globex"]}],
            [{"role": "r", "principals": [A], "tenants": [name]} for name in ("globex", "acme")],
        ),
        (
            [{"role": "r", "principals": [A], "tenants": "all"}],
            [
                {"role": "r", "principals": [A], "tenants": "all", "name": "all"},
                {"role": "r", "principals": [A], "tenants": "own"},
                {"role": "r", "principals": [A], "tenants": "all", "expires": "2030-01-01"},
                {"role": "r", "principals": [A], "tenants": "all", "condition": "false"},
            ],
        ),
        (
            [{"role": "f", "principals": [A], "tenants": "all"}],
            [{"role": "f", "principals": [A], "tenants": "own"}],  # nothing that f.go is asked for has a tenant
        ),
    ],
    ids=["a role divided", "tenants divided", "covered by another", "no tenant"],
)
def test_what_is_written_otherwise_and_gives_the_same_is_no_difference(
    methods: list[Method], before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    assert compare(policy(*before), policy(*after), methods) == []
    assert compare(policy(*after), policy(*before), methods) == []


def test_a_method_that_asks_for_two_permissions_is_gained_with_the_second(methods: list[Method]) -> None:
    before = policy({"role": "r", "principals": [A], "tenants": "all"})
    after = policy(
        {"role": "r", "principals": [A], "tenants": "all"}, {"role": "w", "principals": [A], "tenants": ["acme"]}
    )
    assert list(map(str, compare(before, after, methods))) == [
        f"group a of {ISSUER} gains x.write for tenant acme (methods: TenantBidi)"
    ]
    assert [change.gains for change in compare(after, before, methods)] == [False]


def test_what_is_left_and_what_was_there_before_is_told_beside(methods: list[Method]) -> None:
    wide = policy({"role": "r", "principals": [A, B], "tenants": "all"})
    narrow = policy(
        {"role": "r", "principals": [A], "tenants": ["acme"], "condition": "1 < 2", "expires": "2030-01-01"}
    )
    acme = "for tenant acme, if 1 < 2, until 2030-01-01"
    assert list(map(str, compare(wide, narrow, methods))) == [
        f"group a of {ISSUER} loses x.read for all tenants; still {acme} (methods: TenantUnary)",
        f"group b of {ISSUER} loses x.read for all tenants (methods: TenantUnary)",
    ]
    [gained, _] = compare(narrow, wide, methods)
    assert gained.whose == f"all tenants; before {acme}"


def gained(who: str) -> Change:
    return Change(gains=True, who=who, permissions=(), methods=(), tenants="all tenants", conditions=(), expires="")


def test_markdown_says_so_where_there_is_nothing_to_say() -> None:
    assert "Nobody gains and nobody loses anything." in markdown([], "a", "b")


def test_what_stands_in_a_policy_cannot_write_markdown_nor_call_anybody() -> None:
    hostile = "a|b`c`</code><script>@team [x](http://evil)\n# h\x1b[31m"
    text = markdown([gained(hostile)], hostile, "b")
    [row] = [line for line in text.splitlines() if line.startswith("| **")]
    assert row.count("|") == 6
    for taken in ("<script>", "@", "`", "://", "[", "\x1b", "\n#"):
        assert taken not in row
    assert "<code>a&#124;b&#96;c&#96;&lt;/code&gt;&lt;script&gt;&#64;team &#91;x&#93;" in row


def test_markdown_fits_into_a_comment_however_much_there_is_to_tell() -> None:
    long = [gained(f"user {number} {'@' * 400}") for number in range(200)]
    text = markdown(long, "a", "b")
    assert MAX_MARKDOWN_CHARACTERS / 2 < len(text) < 65_536
    shown = text.count("**gains**")
    assert f"And {200 - shown} more: `policy diff` shows them all." in text
