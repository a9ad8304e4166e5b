"""Where the shared store is can be said in safe ways only, and a password in a wrong place is not repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from secure_rpc.configuration import explain
from secure_rpc.state.connection import State
from secure_rpc.state.redis import Store

FILE = Path("file")


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("rediss://store:6380/2", {}),
        ("rediss://store", {"ca_file": FILE, "certificate_file": FILE, "key_file": FILE}),
        ("redis://127.0.0.1:6379", {}),
        ("redis://[::1]:6379", {}),
        ("redis://localhost", {"username": "orders", "password_file": FILE}),
        ("redis://store", {"allow_plaintext": True}),
        ("unix:///run/valkey/valkey.sock", {}),
    ],
)
def test_a_sound_place_is_taken(url: str, more: dict[str, Any]) -> None:
    assert State(redis_url=url, **more).redis_url == url


@pytest.mark.parametrize(
    ("url", "more", "remedy"),
    [
        ("redis://store", {}, "write rediss://"),
        ("redis://localhost.example.org", {}, "write rediss://"),
        ("redis://127.0.0.1.example.org", {}, "write rediss://"),
        ("http://store", {}, "rediss://redis:6379"),
        ("rediss://", {}, "rediss://redis:6379"),
        ("rediss://store?ssl_cert_reqs=none", {}, "rediss://redis:6379"),
        ("rediss://store/orders", {}, "the number of a database"),
        ("rediss://store:70000", {}, "it is no URL"),
        ("redis://localhost", {"ca_file": FILE}, "go with rediss://"),
        ("rediss://store", {"key_file": FILE}, "come together"),
        ("rediss://store", {"username": "orders"}, "password_file"),
        ("rediss://store", {"key_prefix": "{a}"}, "leave them out"),
        ("unix://run/valkey.sock", {}, "all three slashes"),
        ("unix:///", {}, "all three slashes"),
        ("unix:///run/valkey.sock?db=1", {}, "all three slashes"),
        ("unix:///" + 100 * "x", {}, "choose a shorter one"),
        ("unix:///run/valkey.sock", {"ca_file": FILE}, "go with rediss://"),
        ("", {}, 'either "embedded: true" or "redis_url"'),
        ("rediss://store", {"embedded": True, "folder": FILE}, 'either "embedded: true" or "redis_url"'),
        ("", {"embedded": True}, "come together"),
        ("rediss://store", {"folder": FILE}, "come together"),
        ("", {"embedded": True, "folder": Path("x" * 100)}, "choose a shorter one"),
        ("", {"embedded": True, "folder": FILE, "password_file": FILE}, 'go with "redis_url"'),
    ],
)
def test_what_is_not_safe_or_means_nothing_is_refused_with_its_remedy(
    url: str, more: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        State(redis_url=url, **more)
    assert remedy in str(explain(caught.value, State, lambda _: "settings.yaml"))


@pytest.mark.parametrize("url", ["rediss://:hunter2@store", "rediss://me:hunter2@store:x", "redis://me@hunter2"])
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        State(redis_url=url)
    told = str(explain(caught.value, State, lambda _: "settings.yaml"))
    assert "hunter2" not in told
    assert "redis_url" in told


async def test_keys_stay_in_one_slot_of_a_cluster() -> None:
    assert Store(State(redis_url="rediss://store"), "orders").key("a") == "{orders}:a"
    assert Store(State(redis_url="rediss://store", key_prefix="other"), "orders").key("a") == "{other}:a"


def test_a_socket_is_on_this_machine() -> None:
    given, embedded = State(redis_url="unix:///run/x.sock"), State(embedded=True, folder=Path(".dev/state"))
    assert (given.socket, embedded.socket) == (Path("/run/x.sock"), Path(".dev/state/valkey.sock"))
    assert given.is_loopback
    assert embedded.is_loopback
    assert not embedded.tls
    assert State(redis_url="redis://localhost").socket is None


def test_the_address_has_its_defaults() -> None:
    assert State(redis_url="rediss://store").address == ("store", 6379, 0)
    assert State(redis_url="rediss://store:1/2").address == ("store", 1, 2)
