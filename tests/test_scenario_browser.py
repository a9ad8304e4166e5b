"""A browser by gRPC-Web: people use the service from a page, and the service knows the people, not only the page.

Who is there: alice and bob, who log in at the company's provider; the page; the edge, which takes gRPC-Web and REST
from browsers and calls the service by mutual TLS; an operator.
What they want: what alice makes, bob sees as it comes, for as long as both are logged in, on whatever the line does.
What may go wrong: the service believes the edge, whoever sits behind it; a token stays in the browser, or stands in an
address; a watch ends with a token that lives for seconds; who is let go sees on until the page is closed.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.browser.world import World
from tests.oidc.service import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.browser.driven import Browser

pytest_plugins = ["tests.browser.fixtures"]
pytestmark = pytest.mark.slow

CREATE, WATCH, REFRESH = (
    "/order_service.v1.OrderService/CreateOrder",
    "/order_service.v1.OrderService/WatchOrders",
    "/secure_rpc.v1.SessionService/Refresh",
)
EDGE = "spiffe://example.org/service/edge"


@pytest.fixture
def company(page_folder: Path, page_envoy: Path, tmp_path: Path) -> Iterator[World]:
    """Start all of it with a deny-list of its own."""
    (tmp_path / "deny.yaml").write_text("version: 1\nrevoked: []\n", encoding="utf-8")
    made = World(page_folder, page_envoy, tmp_path, {"revocation": {"deny_list_file": str(tmp_path / "deny.yaml")}})
    yield made
    made.stop()


def let_go(company: World, settings: Path, subject: str, issuer: str) -> None:
    """Have the operator put somebody on the deny-list, as docs/certificates.md says."""
    command = [str(company.folder / ".venv" / "bin" / "order-service"), "pki", "revoke"]
    said = ["--subject", subject, "--issuer", issuer, "--reason", "left", "--config", str(settings)]
    done = subprocess.run([*command, *said], cwd=company.folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_people_use_the_service_from_a_page_until_they_are_let_go(
    company: World, new_browser: Callable[[], Browser], tmp_path: Path
) -> None:
    alices, bobs = new_browser(), new_browser()
    alices.log_in(company.url, "alice")
    bobs.log_in(company.url, "bob")
    bobs.do("click", name="Watch")
    bobs.shows("#watch-state", "Watching")

    alices.call("Title", "a kettle", "Make")  # what one makes, the other sees
    bobs.shows("#changes li", "a kettle")
    until(lambda: len(company.records(method=REFRESH, subject="bob", code="OK")) > 1)  # past two of his tokens
    with company.edge_away():
        bobs.shows("#watch-state", "Cut off")
    bobs.shows("#watch-state", "Watching")
    alices.call("Title", "a teapot", "Make")
    bobs.shows("#changes li", "a teapot")
    assert [text.split()[0] for text in bobs.texts("#changes li")] == ["2", "1"]  # none lost, none twice

    bobs.call("Title", "a spoon", "Make")  # he may look, and no more
    bobs.shows("#create-result", "PERMISSION_MISSING")
    until(lambda: len(company.records(method=CREATE)) > 2)  # records may be a moment late
    made = company.records(method=CREATE, code="OK")
    assert [(each["subject"], each["tenant"]) for each in made] == [("alice", "acme")] * 2
    assert {each["workload"] for each in company.records(event="call") if each["subject"]} == {EDGE}
    assert "eyJ" not in company.audit_file.read_text(encoding="utf-8")
    for page in (alices, bobs):
        kept = page.do("kept")
        assert (kept["local"], kept["session"], kept["cookies"]) == ({}, {}, "")
        assert not [url for url in page.do("urls") if "eyJ" in url]

    let_go(company, tmp_path / "service.yaml", "bob", made[0]["issuer"])
    until(lambda: company.records(method=WATCH, subject="bob", reason="SUBJECT_REVOKED"))
    bobs.call("Id", "1", "Find")
    bobs.shows("#get-result", "CREDENTIAL_REVOKED")
    alices.call("Title", "a cup", "Make")
    alices.shows("#create-result", "a cup")
    assert "a cup" not in " ".join(bobs.texts("#changes li"))
