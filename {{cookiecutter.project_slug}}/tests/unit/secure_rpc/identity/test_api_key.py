"""An API key is known by a hash, ends by itself, and is taken back without a restart."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from secure_rpc import errors
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity import api_key
from secure_rpc.identity.api_key import ApiKey, ApiKeys, load, new_key, save

from support.clocks import Clock

DAY = timedelta(days=1)


class World:
    """A file of keys, those who verify by it, and the time."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "keys.yaml"
        self.entries: dict[str, ApiKey] = {}
        self.told: list[str] = []
        self.changes = 0
        self.text = self.add("alice")
        self.keys = self.opened()

    def opened(self) -> ApiKeys:
        def changed() -> None:
            self.changes += 1

        return ApiKeys(
            self.path,
            on_change=changed,
            on_failure=lambda error: self.told.append(str(error)),
            clock=self.clock,
        )

    def add(self, subject: str, lasts: timedelta = 90 * DAY, **said: Any) -> str:
        expires = datetime.fromtimestamp(self.clock(), UTC) + lasts
        text, entry = new_key(subject, expires, said.get("tenants", ()), said.get("groups", ()))
        self.entries[text.partition(".")[0]] = entry
        save(self.path, self.entries)
        return text

    def revoke(self, text: str) -> None:
        del self.entries[text.partition(".")[0]]
        save(self.path, self.entries)

    def refusal(self, text: str) -> tuple[str, str]:
        with pytest.raises(errors.Unauthenticated) as caught:
            self.keys.verify(text)
        assert caught.value.message == "the API key is not accepted"
        return caught.value.reason, caught.value.recorded_reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def other_secret(text: str) -> str:
    key_id, _, secret = text.partition(".")
    return f"{key_id}.{'A' if secret[0] != 'A' else 'B'}{secret[1:]}"


# --- verifying -------------------------------------------------------------------------------------------------


def test_a_key_tells_whose_it_is(world: World) -> None:
    text = world.add("bob", tenants=("acme", "globex"), groups=("callers",))
    world.clock.pass_(1)
    key = world.keys.verify(text)
    assert (key.subject, key.tenants, key.groups) == ("bob", ("acme", "globex"), ("callers",))


def test_a_key_is_long_enough_not_to_be_guessed_and_never_the_same(world: World) -> None:
    texts = {world.add("alice") for _ in range(20)}
    assert len(texts) == 20
    assert {len(text.partition(".")[2]) for text in texts} == {43}  # 256 bits


@pytest.mark.parametrize(
    "forge",
    [
        other_secret,
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace(".", ""),
        lambda text: text.replace(".", ".."),
        lambda text: "000000000000." + text.partition(".")[2],
        lambda text: "." + text.partition(".")[2],
        lambda text: text.partition(".")[0] + ".",
        lambda text: text.partition(".")[0] + "." + hashlib.sha256(text.partition(".")[2].encode()).hexdigest()[:43],
        lambda _: "",
        lambda _: "é.é",
        lambda _: "a.\ud800" + "A" * 42,
        lambda _: "x" * 1_000_000,
    ],
)
def test_whatever_is_wrong_with_a_key_its_bearer_is_told_the_same(world: World, forge: Any) -> None:
    assert world.refusal(forge(world.text)) == ("API_KEY_INVALID", "API_KEY_INVALID")


def test_a_key_ends_at_its_time_and_only_the_record_says_so(world: World) -> None:
    world.clock.now = world.entries[world.text.partition(".")[0]].expires.timestamp()
    assert world.refusal(world.text) == ("API_KEY_INVALID", "API_KEY_EXPIRED")
    world.clock.pass_(-0.001)
    assert world.keys.verify(world.text).subject == "alice"
    world.clock.pass_(1)
    assert world.refusal(other_secret(world.text)) == ("API_KEY_INVALID", "API_KEY_INVALID")


def test_two_keys_of_one_subject_are_valid_together(world: World) -> None:
    second = world.add("alice")
    world.clock.pass_(1)
    assert world.keys.verify(world.text).subject == world.keys.verify(second).subject == "alice"
    world.revoke(world.text)
    world.clock.pass_(1)
    assert world.refusal(world.text)[0] == "API_KEY_INVALID"
    assert world.keys.verify(second).subject == "alice"


def test_an_unknown_id_costs_the_same_work_as_a_wrong_secret(world: World) -> None:
    """Counted in calls of functions, which tell more than a clock on a busy machine."""

    def work(text: str) -> Counter[str]:
        done: Counter[str] = Counter()
        sys.setprofile(lambda _frame, event, arg: done.update([arg.__name__] if event == "c_call" else ()))
        try:
            world.refusal(text)
        finally:
            sys.setprofile(None)
        return Counter({name: count for name, count in done.items() if "digest" in name or "sha256" in name})

    known, unknown = work(other_secret(world.text)), work(f"000000000000.{'A' * 43}")
    assert known == unknown == work("garbage")
    assert sorted(known.values()) == [1, 1, 1], known


# --- the file --------------------------------------------------------------------------------------------------


def test_no_secret_is_kept(world: World) -> None:
    key_id, _, secret = world.text.partition(".")
    content = world.path.read_text(encoding="utf-8")
    assert secret not in content
    assert secret not in repr(world.keys.__dict__)
    assert yaml.safe_load(content)["keys"][key_id]["sha256"] == hashlib.sha256(secret.encode()).hexdigest()


def test_the_file_is_for_its_owner_alone_whatever_stood_there_before(world: World) -> None:
    assert world.path.stat().st_mode & 0o777 == 0o600
    beside = world.path.with_name("keys.yaml.new")
    beside.write_text("left by a crash", encoding="utf-8")
    beside.chmod(0o644)
    world.add("bob")
    assert world.path.stat().st_mode & 0o777 == 0o600
    assert not beside.exists()


def test_a_link_beside_the_file_is_not_written_through(world: World, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("theirs", encoding="utf-8")
    world.path.with_name("keys.yaml.new").symlink_to(precious)
    world.add("bob")
    assert precious.read_text(encoding="utf-8") == "theirs"
    assert not world.path.is_symlink()


def test_what_is_saved_is_what_is_loaded(world: World) -> None:
    ids = ("123456789012", "1e5678901234", "000000000000", "null", "true", "deadbeef0000")
    entries = {key_id: world.entries[world.text.partition(".")[0]] for key_id in ids}
    save(world.path, entries)
    assert load(world.path) == entries


def test_a_revoked_key_is_refused_within_two_seconds(world: World) -> None:
    assert world.keys.verify(world.text)
    world.revoke(world.text)
    world.clock.pass_(api_key.LOOK_AGAIN_SECONDS)
    assert api_key.LOOK_AGAIN_SECONDS < 2
    assert world.refusal(world.text)[0] == "API_KEY_INVALID"
    assert world.changes == 1


def test_the_file_is_looked_at_no_more_than_once_a_second(world: World) -> None:
    world.revoke(world.text)
    world.clock.pass_(api_key.LOOK_AGAIN_SECONDS - 0.001)
    assert world.keys.verify(world.text), "it was looked at before its time"
    assert world.changes == 0


def test_a_file_that_does_not_change_is_not_read_again(world: World) -> None:
    for _ in range(5):
        world.clock.pass_(2)
        world.keys.verify(world.text)
    assert world.changes == 0


def test_a_change_in_place_of_the_same_size_is_noticed(world: World) -> None:
    content = world.path.read_text(encoding="utf-8")
    world.path.write_text(content.replace("subject: alice", "subject: mlory"), encoding="utf-8")
    os.utime(world.path, ns=(1, 1))
    world.clock.pass_(1)
    assert world.keys.verify(world.text).subject == "mlory"


@pytest.mark.parametrize(
    "content",
    ["", "keys: [", "keys: 5", "kes: {}", "keys: {a: {}}", "- a", "\0", "keys: {a: {sha256: x, subject: y}}", None],
)
def test_a_file_that_is_wrong_leaves_the_keys_as_they_were(world: World, content: str | None) -> None:
    if content is None:
        world.path.unlink()
    else:
        world.path.write_text(content, encoding="utf-8")
    world.clock.pass_(1)
    if content == "":  # a file without keys is no mistake
        assert world.refusal(world.text)[0] == "API_KEY_INVALID"
        return
    assert world.keys.verify(world.text).subject == "alice"
    assert len(world.told) == 1
    assert str(world.path) in world.told[0]
    save(world.path, {})
    world.clock.pass_(1)
    assert world.refusal(world.text)[0] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": "a" * 63}, "sha256"),
        ({"subject": ""}, "subject"),
        ({"expires": "2027-01-01T00:00:00"}, "timezone"),
        ({"expires": "soon"}, "expires"),
        ({"secret": "hunter2"}, '"keys.a.secret" is not known'),
    ],
)
def test_an_entry_that_is_wrong_is_told_with_its_place(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    sound = {"sha256": "a" * 64, "subject": "alice", "expires": "2027-01-01T00:00:00Z"}
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": {"a": {**sound, **wrong}}}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        ApiKeys(path)
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}:")
    assert told in problem


def test_a_file_that_is_missing_is_told_at_the_start_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"keys.yaml: cannot be read \(.*\); make it by `apikey new`"):
        ApiKeys(tmp_path / "keys.yaml")
