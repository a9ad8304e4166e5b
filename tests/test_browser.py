"""The page of a generated service, in a real browser, before a real edge and a real provider."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.oidc.service import until
from tests.test_bake import ALL_NAMES
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.browser.driven import Browser
    from tests.browser.world import World
    from tests.conftest import Baked, Make

pytest_plugins = ["tests.browser.fixtures"]
pytestmark = pytest.mark.slow

WATCH = "/order_service.v1.OrderService/WatchOrders"
REFRESH = "/secure_rpc.v1.SessionService/Refresh"
PICTURE = ROOT / "docs" / "browser.png"
PICTURE_BYTES = 150_000


def test_somebody_who_has_logged_in_calls_and_nothing_of_it_is_left_lying_about(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "alice")
    browser.call("Title", "a kettle", "Make")
    browser.shows("#create-result", "a kettle")
    made = browser.texts("#create-result dd")
    browser.call("Id", made[0], "Find")
    browser.shows("#get-result", "a kettle")
    assert browser.texts("#get-result dd") == made == [made[0], "a kettle", "acme"]
    kept = browser.do("kept")
    assert kept == {"local": {}, "session": {}, "databases": [], "cookies": "", "url": f"{world.url}/", "state": None}
    assert browser.complaints() == []
    assert not [url for url in browser.do("urls") if "eyJ" in url]


def test_a_refusal_shows_its_reason(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "bob")
    browser.call("Title", "a teapot", "Make")
    browser.shows("#create-result", "PERMISSION_DENIED")
    browser.shows("#create-result dd", "PERMISSION_MISSING")
    browser.do("fill", label="Tenant", text="globex")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result", "PERMISSION_DENIED")
    browser.do("click", name="Watch")
    browser.shows("#watch-state", "PERMISSION_DENIED")
    assert browser.texts("#watch") == ["Watch"]
    browser.do("fill", label="Tenant", text="acme")
    browser.call("Id", "none", "Find")
    browser.shows("#get-result", "NOT_FOUND")
    browser.do("fill", label="Tenant", text="x" * 64)
    browser.do("press", key="Tab")
    browser.do("fill", label="Tenant", text="")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result", "tenant")
    assert browser.complaints() == []


def test_without_a_login_a_call_is_refused_and_the_page_says_what_to_do(world: World, browser: Browser) -> None:
    browser.do("open", url=world.url)
    browser.shows("#account", "You are not logged in.")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result", "UNAUTHENTICATED")
    browser.shows("#get-result", "Log in to go on.")
    browser.do("click", name="Watch")
    browser.shows("#watch-state", "UNAUTHENTICATED")
    assert browser.complaints() == []


def test_a_stream_goes_on_with_new_tokens_and_after_a_cut(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "carol")
    browser.call("Title", "first", "Make")
    browser.shows("#create-result", "first")
    browser.do("click", name="Watch")
    browser.shows("#changes li", "first")
    until(lambda: len(world.records(method=REFRESH, code="OK")) > 1)  # each with another token
    browser.call("Title", "second", "Make")
    browser.shows("#changes li", "second")
    browser.shows("#watch-state", "extended")
    assert browser.complaints() == []
    assert world.records(method=WATCH, subject="carol", event="end") == []

    with world.edge_away():
        browser.shows("#watch-state", "Cut off")
    browser.shows("#watch-state", "Watching")
    browser.call("Title", "third", "Make")
    browser.shows("#changes li", "third")
    assert [text.split()[0] for text in browser.texts("#changes li")] == ["3", "2", "1"]
    browser.do("click", name="Stop")
    browser.shows("#watch-state", "Stopped")


def test_a_login_that_has_ended_is_said_so(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "bob")
    browser.do("click", name="Watch")
    browser.shows("#watch-state", "Watching")
    with world.provider_away():
        browser.shows("#watch-state", "Cut off")
        browser.call("Id", "1", "Find")
        browser.shows("#get-result dd", "TOKEN_EXPIRED")
    browser.shows("#account", "Your login has ended.")
    browser.shows("#watch-state", "LOGIN_ENDED")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result", "Log in to go on.")


def test_a_stream_that_cannot_be_extended_is_begun_again_where_it_was_and_a_quota_says_when_to_come_again(
    stern_world: World, new_browser: Callable[[], Browser]
) -> None:
    browser, other = new_browser(), new_browser()
    browser.log_in(stern_world.url, "carol")
    browser.call("Title", "first", "Make")
    browser.do("click", name="Watch")
    browser.shows("#changes li", "first")
    until(lambda: stern_world.records(method=WATCH, code="CANCELLED"))
    browser.call("Title", "second", "Make")
    browser.shows("#changes li", "second")
    assert [text.split()[0] for text in browser.texts("#changes li")] == ["2", "1"]
    other.log_in(stern_world.url, "bob")
    for _ in range(7):
        other.call("Id", "1", "Find")
        other.shows("#get-result[aria-busy=false]", "Reason")
    other.shows("#get-result", "RESOURCE_EXHAUSTED")
    assert re.fullmatch(r"in \d+ s", other.texts("#get-result dt:has-text('Try again') + dd")[0])
    assert browser.complaints() == other.complaints() == []


def test_a_login_that_the_page_did_not_ask_for_is_not_taken(world: World, browser: Browser) -> None:
    browser.do("open", url=f"{world.url}/?code=stolen&state=made-up")
    browser.shows("#notice", "this page has not asked for a login")
    assert browser.do("kept")["url"] == f"{world.url}/"
    browser.do("click", name="Log in")
    browser.do("open", url=f"{world.url}/?code=stolen&state=made-up&iss={world.issuer}")
    browser.shows("#notice", 'unexpected "state"')
    browser.shows("#account", "You are not logged in.")
    assert browser.do("kept")["session"] == {}


def test_after_a_logout_nothing_is_left_of_the_login(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "alice")
    browser.do("click", name="Log out")
    browser.do("click", name="Yes, sign me out")
    browser.shows("#account", "You are not logged in.")
    browser.do("click", name="Log in")
    browser.do("click", name="bob")  # is asked again who it is
    browser.shows("#account", "Logged in as bob")


def test_what_does_not_belong_to_the_page_does_not_run_in_it(world: World, browser: Browser) -> None:
    browser.do("open", url=world.url)
    browser.shows("#account", "You are not logged in.")
    assert browser.do("attack") == ["refused", "refused", "refused", False]
    assert len(browser.complaints()) >= len(["script", "markup", "address"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_used_by_all(world: World, browser: Browser, scheme: str) -> None:
    browser.log_in(world.url, "alice")
    browser.call("Title", "a cup", "Make")
    browser.shows("#create-result", "a cup")
    browser.call("Id", "none", "Find")
    browser.shows("#get-result", "NOT_FOUND")
    browser.do("click", name="Watch")
    browser.shows("#changes li", "a cup")
    found = browser.do("axe", scheme=scheme)
    assert found["violations"] == []
    assert {"color-contrast", "label", "region"} <= set(found["passes"])
    browser.do("size", width=360, height=740)
    assert not browser.do("overflows")


def test_the_page_can_be_used_without_a_mouse(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "alice")
    reached = []
    for _ in range(7):
        browser.do("press", key="Tab")
        reached.append(browser.do("focused"))
    assert reached[:6] == ["log-out", "tenant", "create-value", "", "get-value", ""]
    assert reached[6] == "watch"
    browser.do("press", key="Enter")
    browser.shows("#watch-state", "Watching")
    browser.do("press", key="Tab")
    assert browser.do("focused") == "stop"
    browser.do("press", key="Enter")
    browser.shows("#watch-state", "Stopped")
    assert browser.do("focused") == "watch"


def test_the_picture_in_the_documentation_is_there_and_is_made_anew_where_that_is_asked_for(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    browser.do("size", width=1000, height=760)
    browser.log_in(world.url, "carol")
    for title in ("Two kettles", "A teapot", "Six cups"):
        browser.call("Title", title, "Make")
        browser.shows("#create-result", title)
    browser.do("fill", label="Tenant", text="acme")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result", "PERMISSION_DENIED")
    browser.do("fill", label="Tenant", text="globex")
    browser.do("click", name="Watch")
    browser.shows("#changes li", "Six cups")
    made = tmp_path / "browser.png"
    browser.do("screenshot", file=str(made), scheme="light")
    if os.environ.get("REWRITE_PICTURES"):
        shutil.copy(made, PICTURE)
    for picture in (made, PICTURE):
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < PICTURE_BYTES


def test_the_page_passes_its_own_checks(page_folder: Path, make: Make) -> None:
    done = make(page_folder, "browser-lint")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("names", ["capitals", "digits"])
def test_the_page_is_built_whatever_the_names(browser_program: Path, baked: Baked, make: Make, names: str) -> None:
    assert browser_program.is_file()
    done = make(baked(**ALL_NAMES[names]), "browser", "browser-lint")
    assert done.returncode == 0, done.stdout
