"""The page of a generated service, in a real browser, before a real edge and a real provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oidc.service import until

if TYPE_CHECKING:
    from tests.browser.driven import Browser
    from tests.browser.world import World

pytest_plugins = ["tests.browser.fixtures"]
pytestmark = pytest.mark.slow

WATCH = "/order_service.v1.OrderService/WatchOrders"
REFRESH = "/secure_rpc.v1.SessionService/Refresh"


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

    world.stop_edge()
    browser.shows("#watch-state", "Cut off")
    world.start_edge()
    browser.shows("#watch-state", "Watching")
    browser.call("Title", "third", "Make")
    browser.shows("#changes li", "third")
    assert [text.split()[0] for text in browser.texts("#changes li")] == ["3", "2", "1"]
    browser.do("click", name="Stop")
    browser.shows("#watch-state", "Stopped")


def test_a_login_that_has_ended_is_said_so(world: World, browser: Browser) -> None:
    browser.log_in(world.url, "bob")
    browser.do("click", name="Watch")
    world.stop_provider()
    browser.shows("#watch-state", "TOKEN_EXPIRED")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result dd", "TOKEN_EXPIRED")
    world.start_provider()  # and knows of no login
    browser.shows("#account", "Your login has ended.")
    browser.call("Id", "1", "Find")
    browser.shows("#get-result", "Log in to go on.")


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
