"""A client's token is there when it is needed: read again as it changes, fetched ahead of its end, once for all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from secure_rpc.token_sources import (
    Fetched,
    FileToken,
    Refreshing,
    TokenUnavailable,
)

from support.clocks import Clock

LIFETIME = 1000.0

# --- a file ------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n", encoding="ascii")
    return path


def test_a_token_is_read_from_its_file_and_again_when_that_changes(file: Path) -> None:
    source = FileToken(file)
    assert (source(), source()) == ("first", "first")
    beside = file.with_name("new")
    beside.write_text(" second \n", encoding="ascii")
    beside.replace(file)
    assert source() == "second"


def test_a_file_that_does_not_change_is_not_read_again(file: Path) -> None:
    source = FileToken(file)
    source()
    changed = file.stat().st_mtime_ns
    file.write_text("other", encoding="ascii")
    os.utime(file, ns=(changed, changed))
    assert source() == "first"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff", "é".encode()])
def test_a_file_without_a_token_is_an_error_until_there_is_one(file: Path, content: bytes | None) -> None:
    source = FileToken(file)
    assert source() == "first"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(TokenUnavailable, match=str(file)):
            source()
    file.write_text("second", encoding="ascii")
    assert source() == "second"


# --- a token that is fetched -------------------------------------------------------------------------------------


@dataclass
class World:
    """A source, the issuer that feeds it, and the time; a fetch waits until it may go on."""

    clock: Clock = field(default_factory=lambda: Clock(5000.0))
    chance: float = 0.0
    fetches: int = 0
    failing: bool = False
    lifetime_seconds: float = LIFETIME
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_go_on.set()
        self.source = Refreshing(self.fetch, clock=self.clock, chance=lambda: self.chance)

    def fetch(self) -> Fetched:
        self.fetches += 1
        number = self.fetches
        assert self.may_go_on.wait(10)
        if self.failing:
            raise TokenUnavailable("down")
        return Fetched(f"token-{number}", self.lifetime_seconds)

    def settled(self) -> None:
        """Wait until no fetch is under way in the background."""
        assert self.source._lock.acquire(timeout=10)
        self.source._lock.release()

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def world() -> World:
    return World()


def test_a_token_is_fetched_once_and_served_until_shortly_before_its_end(world: World) -> None:
    assert {world.source() for _ in range(10)} == {"token-1"}
    world.clock.pass_(LIFETIME * 0.8 - 0.001)
    assert world.source() == "token-1"
    assert world.fetches == 1


def test_the_next_one_is_fetched_ahead_while_the_old_one_serves(world: World) -> None:
    world.source()
    world.clock.pass_(LIFETIME * 0.8)
    world.may_go_on.clear()
    assert {world.source() for _ in range(10)} == {"token-1"}  # nobody waits
    world.until(lambda: world.fetches == 2)
    world.may_go_on.set()
    world.settled()
    assert world.source() == "token-2"
    assert world.fetches == 2


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (0.5, 0.85), (1.0, 0.9)])
def test_clients_that_start_together_do_not_come_back_together(world: World, chance: float, share: float) -> None:
    world.chance = chance
    world.source()
    world.clock.pass_(LIFETIME * share - 0.01)
    world.source()
    world.settled()
    assert world.fetches == 1
    world.clock.pass_(0.02)
    world.source()
    world.until(lambda: world.fetches == 2)
    world.settled()


def test_200_threads_without_a_token_make_one_fetch(world: World) -> None:
    world.may_go_on.clear()
    with ThreadPoolExecutor(200) as pool:
        futures = [pool.submit(world.source) for _ in range(200)]
        world.until(lambda: world.fetches == 1)
        world.may_go_on.set()
        assert {future.result(10) for future in futures} == {"token-1"}
    assert world.fetches == 1


def test_200_threads_that_come_at_the_time_of_renewal_make_one_fetch(world: World) -> None:
    world.source()
    for expected in range(2, 12):
        world.clock.pass_(LIFETIME * 0.8)
        start = threading.Barrier(50)

        def ask(barrier: threading.Barrier = start) -> str:
            barrier.wait(10)
            return world.source()

        with ThreadPoolExecutor(50) as pool:
            tokens = {future.result(10) for future in [pool.submit(ask) for _ in range(50)]}
        assert tokens <= {f"token-{expected - 1}", f"token-{expected}"}
        world.until(lambda: world.source() == f"token-{expected}")  # noqa: B023  # called here and now
        world.settled()
        assert world.fetches == expected


def test_who_was_late_to_renew_does_not_renew_again(world: World) -> None:
    """A thread can see that it is time, and get the lock only when another has done the work."""
    world.source()
    world.clock.pass_(LIFETIME * 0.8)
    world.source._lock.acquire()
    world.source._renew()
    world.source._renew_in_background()
    assert world.fetches == 2


def test_the_old_one_is_served_while_fetching_fails_and_never_past_its_end(world: World) -> None:
    world.source()
    world.failing = True
    world.clock.pass_(LIFETIME * 0.8)
    end = world.clock.now + LIFETIME * 0.2
    while world.clock.now < end:
        assert world.source() == "token-1"
        world.settled()
        world.clock.pass_(0.4)
    assert 5 < world.fetches < 100, "neither given up nor tried without pause"
    with pytest.raises(TokenUnavailable):
        world.source()
    world.failing = False
    assert world.source() == f"token-{world.fetches}"


def test_a_failure_just_before_the_end_makes_the_token_last_no_longer(world: World) -> None:
    world.source()
    world.clock.pass_(LIFETIME - 0.1)
    world.failing = True
    assert world.source() == "token-1"
    world.until(lambda: world.fetches == 2)
    world.settled()
    world.clock.pass_(0.2)
    with pytest.raises(TokenUnavailable):
        world.source()


def test_without_any_token_a_failure_is_told_and_the_next_call_tries_again(world: World) -> None:
    world.failing = True
    for expected in (1, 2):
        with pytest.raises(TokenUnavailable):
            world.source()
        assert world.fetches == expected
    world.failing = False
    assert world.source() == "token-3"


@pytest.mark.parametrize("lifetime_seconds", [0.0, -5.0])
def test_a_token_that_has_ended_as_it_comes_is_not_kept(world: World, lifetime_seconds: float) -> None:
    world.lifetime_seconds = lifetime_seconds
    assert (world.source(), world.source()) == ("token-1", "token-2")
