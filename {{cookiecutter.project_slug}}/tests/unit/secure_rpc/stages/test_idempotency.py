"""What was answered is answered again to those alone who may still have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method, Patience, Principal
from secure_rpc.stages.idempotency import Idempotency
from secure_rpc.state.local_file import IN_MEMORY, LocalFile
from secure_rpc.state.local_outcomes import LocalOutcomes

KEY = "k" * 16


@dataclass
class Context:
    """What gRPC has of a call: one request, and what is to be sent after the reply."""

    waiting: list[Any] = field(default_factory=lambda: [b"request", grpc.aio.EOF])
    trailers: tuple[tuple[str, str], ...] = ()

    async def read(self) -> Any:
        return self.waiting.pop(0)

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.trailers

    def set_trailing_metadata(self, trailers: tuple[tuple[str, str], ...]) -> None:
        self.trailers = trailers


@pytest.fixture
async def idempotency() -> AsyncIterator[Idempotency]:
    file = LocalFile(IN_MEMORY)
    yield Idempotency(
        LocalOutcomes(file, 100), lease_seconds=60, lifetime_seconds=600, max_outcome_bytes=100, answers=True
    )
    await file.close()


def made(workload: str = "", issuer: str = "") -> Call:
    method = Method("/things.v1.Things/Make", Patience(1), request_streaming=False, response_streaming=False)
    call = Call(method, method.path, ())
    call.context, call.principal = Context(), Principal(workload, issuer, "alice")
    return call


async def run(call: Call) -> None:
    await call.receive()
    call.has_begun = True
    call.reply = b"the answer"


async def never(_call: Call) -> None:
    raise AssertionError("it was run again")


async def test_an_answer_is_given_again(idempotency: Idempotency) -> None:
    await idempotency.run(made(), KEY, run)
    again = made()
    await idempotency.run(again, KEY, never)
    assert (again.reply, again.context.trailers) == (b"the answer", (("idempotent-replay", "true"),))


async def test_a_user_of_one_issuer_has_its_keys_through_any_workload(idempotency: Idempotency) -> None:
    await idempotency.run(made("spiffe://example.org/one"), KEY, run)
    again = made("spiffe://example.org/other")
    await idempotency.run(again, KEY, never)
    assert again.reply == b"the answer"
    other = made("spiffe://example.org/one", "https://another.example.org")
    await idempotency.run(other, KEY, run)
    assert other.context.trailers == ()


async def test_who_may_not_touch_what_the_request_names_any_more_gets_no_answer(idempotency: Idempotency) -> None:
    await idempotency.run(made(), KEY, run)
    again = made()

    def refuse(_message: object) -> None:
        raise errors.PermissionDenied("the tenant is not yours", reason="TENANT_DENIED")

    again.check_requests(refuse)
    with pytest.raises(errors.PermissionDenied):
        await idempotency.run(again, KEY, never)
    assert again.reply is None


async def test_a_call_that_is_cancelled_amid_its_work_is_not_run_again(idempotency: Idempotency) -> None:
    begun = asyncio.Event()

    async def work(call: Call) -> None:
        await call.receive()
        call.has_begun = True
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(idempotency.run(made(), KEY, work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(errors.FailedPrecondition) as caught:
        await idempotency.run(made(), KEY, never)
    assert caught.value.reason == "IDEMPOTENCY_OUTCOME_UNKNOWN"
