"""Who may call what, on a page that needs nothing but itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.call import Principal
from secure_rpc.policy.matrix import Cell, Matrix, Verdict, html, matrix
from secure_rpc.policy.questions import method_named

from support.policy_ground import ground_in, policy_of
from support.target import ISSUER

NOW = 1_767_268_800.0  # 2026-01-01 12:00 UTC
ALICE = Principal(issuer=ISSUER, subject="alice", groups=frozenset({"callers"}), tenants=frozenset({"acme"}))
WHO = {"role": "caller", "principals": [{"issuer": ISSUER, "group": "callers"}]}


@pytest.mark.parametrize(
    ("bindings", "without_tenant", "with_tenant"),
    [
        ([], "✗ deny", "✗ deny"),
        ([{**WHO, "tenants": "all"}], "✓ allow", "✓ allow: all tenants"),
        ([{**WHO}], "✓ allow", "◐ depends: tenant acme"),
        ([{**WHO, "expires": "2025-12-31"}], "✗ deny", "✗ deny"),
        (
            [{**WHO, "name": "c", "condition": "request.count < 3"}],
            "◐ depends: on c's condition",
            "◐ depends: tenant acme, on conditions",
        ),
        (
            [{**WHO}, {**WHO, "tenants": "all", "condition": "now < timestamp('2030-01-01T00:00:00Z')"}],
            "✓ allow",
            "◐ depends: all tenants, on conditions; tenant acme always",
        ),
    ],
    ids=["nothing", "all", "own", "ended", "condition", "more on condition"],
)
def test_each_cell_says_what_holds_and_on_what_it_depends(
    tmp_path: Path, bindings: list[dict[str, Any]], without_tenant: str, with_tenant: str
) -> None:
    ground = ground_in(tmp_path)
    methods = [method_named(name, ground.methods) for name in ("Unary", "TenantUnary", "Public", "Refresh")]
    document = policy_of({"caller": ["probe.call"]}, *bindings)
    found = matrix(document, ground.conditions, {"alice": ALICE}, methods, NOW)
    said = [without_tenant, with_tenant, "✓ allow: public", "✓ allow: any caller"]
    assert list(map(str, found.rows["alice"])) == said
    assert found.methods == ("Unary", "TenantUnary", "Public", "Refresh")


def test_the_page_stands_by_itself_and_reads_without_colours() -> None:
    rows = {"<b>alice</b>": (Cell(Verdict.ALLOW), Cell(Verdict.DENY), Cell(Verdict.DEPENDS, "tenant <x>"))}
    page = html(Matrix("abc", NOW, ("Get", "<script>", "Watch"), rows), "orders & co")
    assert page.startswith('<!doctype html>\n<html lang="en">')
    for taken in ("<script", "<b>", "http:", "https:", "<x>", "src=", "@import", "url("):
        assert taken not in page
    body = ET.fromstring(page[page.index("<body>") : page.index("</html>")])  # noqa: S314  # ours
    table = body.find(".//table")
    assert table is not None
    assert table.find("caption") is not None
    assert [cell.get("scope") for cell in table.iter("th")] == ["col"] * 4 + ["row"]
    assert ["".join(cell.itertext()) for cell in table.iter("td")] == ["✓ allow", "✗ deny", "◐ depends: tenant <x>"]
    assert "Policy abc, at 2026-01-01T12:00:00Z." in page
