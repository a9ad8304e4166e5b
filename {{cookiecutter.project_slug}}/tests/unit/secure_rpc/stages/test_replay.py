"""A protected call is taken once, within a window of time; time is the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method, Principal
from secure_rpc.stages.once import Once
from secure_rpc.stages.replay import Replay
from secure_rpc.state.memory import MemoryNonces

MakeCall: TypeAlias = Callable[..., Call]
MakeMethod: TypeAlias = Callable[..., Method]
WINDOW = 300.0
START = 1_780_000_000.0
ALICE, BOB = Principal(subject="alice"), Principal(subject="bob")
NONCE = "nonce-0123456789"


@dataclass
class World:
    """A stage and its store, on one clock."""

    method: Method
    call: MakeCall
    now: float = START
    size: int = 100
    began: float = 0.0
    taken: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        nonces = MemoryNonces(self.size, lambda: self.now, began_seconds=self.began)
        self.stage = Replay(Once(nonces, WINDOW, lambda: self.now))

    async def attempt(self, nonce: str = NONCE, sent: float | str | None = None, principal: Principal = ALICE) -> str:
        """Return the reason of the refusal, "" where the call was taken."""
        time = sent if isinstance(sent, str) else f"{self.now if sent is None else sent:.6f}"
        return await self.attempt_with((("request-nonce", nonce), ("request-time", time)), principal)

    async def attempt_with(self, metadata: tuple[tuple[str, str], ...], principal: Principal = ALICE) -> str:
        async def proceed(call: Call) -> None:
            self.taken.append(call)

        middleware = self.stage.bind(self.method)
        assert middleware is not None
        before = len(self.taken)
        try:
            await middleware(self.call(principal, metadata), proceed)
        except errors.StatusError as error:
            assert len(self.taken) == before
            return f"{error.code.name} {error.reason}"
        assert len(self.taken) == before + 1
        return ""


@pytest.fixture
def world(method: MakeMethod, call: MakeCall) -> World:
    return World(method(replay_protected=True), call)


def test_methods_that_do_not_ask_for_it_do_without(method: MakeMethod) -> None:
    assert Replay(Once(MemoryNonces(), WINDOW)).bind(method()) is None


async def test_a_call_is_taken_once(world: World) -> None:
    assert await world.attempt() == ""
    assert await world.attempt() == "ALREADY_EXISTS REPLAYED"
    assert await world.attempt("another-0123456789") == ""


async def test_two_callers_may_hit_upon_one_nonce(world: World) -> None:
    assert await world.attempt(principal=ALICE) == ""
    assert await world.attempt(principal=BOB) == ""
    assert await world.attempt(principal=BOB) == "ALREADY_EXISTS REPLAYED"


async def test_a_user_is_one_of_its_issuer_through_whatever_workload(world: World) -> None:
    one = Principal(workload="spiffe://example.org/one", issuer="https://a", subject="alice")
    assert await world.attempt(principal=one) == ""
    assert await world.attempt(principal=replace(one, issuer="https://b")) == ""
    assert (
        await world.attempt(principal=replace(one, workload="spiffe://example.org/other")) == "ALREADY_EXISTS REPLAYED"
    )


@pytest.mark.parametrize(
    ("off_seconds", "taken"),
    [
        (0, True),
        (WINDOW - 0.001, True),
        (-WINDOW + 0.001, True),
        (WINDOW, False),
        (-WINDOW, False),
        (WINDOW + 1, False),
        (-WINDOW - 1, False),
    ],
)
async def test_clocks_may_differ_by_less_than_the_window(world: World, off_seconds: float, *, taken: bool) -> None:
    found = await world.attempt(sent=START + off_seconds)
    assert found == ("" if taken else "FAILED_PRECONDITION REPLAY_PROOF_STALE")


@pytest.mark.parametrize("ahead_seconds", [0, 100, WINDOW - 0.001, -WINDOW + 0.001])
async def test_there_is_no_moment_at_which_a_call_is_taken_again(world: World, ahead_seconds: float) -> None:
    """Neither while its nonce is remembered nor after, when its time must be too old."""
    sent = START + ahead_seconds
    assert await world.attempt(sent=sent) == ""
    ends = (START, START + WINDOW, sent + WINDOW, START + 2 * WINDOW)
    for moment in sorted({end + step for end in ends for step in (-0.001, -0.000_001, 0, 0.000_001, 0.001)}):
        world.now = max(moment, START)
        assert await world.attempt(sent=sent) in {"ALREADY_EXISTS REPLAYED", "FAILED_PRECONDITION REPLAY_PROOF_STALE"}


@pytest.mark.parametrize(
    "nonce", ["", "short", "x" * 15, "x" * 65, "x" * 15 + " ", "x" * 15 + "\n", "x" * 15 + "\u00e9", "x" * 15 + "="]
)
async def test_a_nonce_of_another_form_is_refused(world: World, nonce: str) -> None:
    assert await world.attempt(nonce) == "INVALID_ARGUMENT REPLAY_PROOF_MISSING"


@pytest.mark.parametrize(
    "sent", ["", "now", "-1", "1e9", "inf", "nan", "0x1", " 1", "1 ", "1.", "1.1234567", "9" * 13, "\u0661", "1_0"]
)
async def test_a_time_of_another_form_is_refused(world: World, sent: str) -> None:
    assert await world.attempt(sent=sent) == "INVALID_ARGUMENT REPLAY_PROOF_MISSING"


@pytest.mark.parametrize("length", [16, 64])
async def test_nonces_of_all_lengths_allowed_are_taken(world: World, length: int) -> None:
    assert await world.attempt("x" * length) == ""


async def test_a_proof_that_is_missing_or_doubled_is_refused(world: World) -> None:
    time = ("request-time", f"{START:.3f}")
    assert await world.attempt_with(()) == "INVALID_ARGUMENT REPLAY_PROOF_MISSING"
    assert await world.attempt_with((time,)) == "INVALID_ARGUMENT REPLAY_PROOF_MISSING"
    doubled = (("request-nonce", NONCE), ("request-nonce", "another-0123456789"), time)
    assert await world.attempt_with(doubled) == "INVALID_ARGUMENT METADATA_AMBIGUOUS"


async def test_a_full_store_takes_no_call_that_it_could_not_recognize_again(method: MakeMethod, call: MakeCall) -> None:
    world = World(method(replay_protected=True), call, size=1)
    assert await world.attempt() == ""
    assert await world.attempt("another-0123456789") == "UNAVAILABLE REPLAY_STORE_UNAVAILABLE"
    assert await world.attempt() == "ALREADY_EXISTS REPLAYED"


async def test_a_stale_call_does_not_use_up_its_nonce(world: World) -> None:
    assert await world.attempt(sent=START - 2 * WINDOW) == "FAILED_PRECONDITION REPLAY_PROOF_STALE"
    assert await world.attempt() == ""


async def test_a_call_that_was_stamped_before_anything_was_remembered_may_have_been_made_before(
    method: MakeMethod, call: MakeCall
) -> None:
    world = World(method(replay_protected=True), call, began=START)
    assert await world.attempt(sent=START - 0.000_001) == "FAILED_PRECONDITION REPLAY_PROOF_STALE"
    assert await world.attempt("another-0123456789", sent=START) == ""
