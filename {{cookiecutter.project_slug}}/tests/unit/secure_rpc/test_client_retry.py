"""Who is refused by a quota or for load waits as told and comes again, as long as there is time; nobody else does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.client_retry import when_allowed

from support.clocks import Clock

DOMAIN = "orders"


def refusal(reason: str = "QUOTA_EXHAUSTED", seconds: float | None = 2.0, domain: str = DOMAIN) -> grpc.aio.AioRpcError:
    details = [] if seconds is None else [errors.retry_after(timedelta(seconds=seconds))]
    error = errors.ResourceExhausted(reason=reason, details=details)
    metadata: Any = grpc.aio.Metadata(*error.trailing_metadata(domain))
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), metadata, error.message)


class Server:
    """Refuses as it is told, then answers."""

    def __init__(self, *endings: grpc.aio.AioRpcError) -> None:
        self.clock = Clock(100.0)
        self.endings = list(endings)
        self.waits: list[float] = []
        self.calls = 0

    async def call(self) -> str:
        self.calls += 1
        if self.endings:
            raise self.endings.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.pass_(seconds)

    async def asked(self, within_seconds: float = 10.0, chance: float = 0.0) -> str:
        return await when_allowed(
            self.call,
            domain=DOMAIN,
            within_seconds=within_seconds,
            sleep=self.sleep,
            clock=self.clock,
            chance=lambda: chance,
        )


async def test_who_is_not_refused_does_not_wait() -> None:
    server = Server()
    assert await server.asked() == "done"
    assert (server.calls, server.waits) == (1, [])


@pytest.mark.parametrize("reason", ["QUOTA_EXHAUSTED", "QUOTA_STORE_UNAVAILABLE", "LOAD_LIMIT"])
async def test_who_is_refused_waits_as_told_and_a_little_longer(reason: str) -> None:
    server = Server(refusal(reason), refusal(reason, 3.0))
    assert await server.asked(chance=1.0) == "done"
    assert server.waits == pytest.approx([2.2, 3.3])


async def test_the_total_time_is_not_exceeded_and_the_last_refusal_is_told_at_once() -> None:
    server = Server(*(refusal(seconds=4.0) for _ in range(9)))
    with pytest.raises(grpc.aio.AioRpcError):
        await server.asked(within_seconds=10)
    assert (server.calls, server.waits) == (3, [4.0, 4.0])


@pytest.mark.parametrize(
    "other",
    [
        refusal("RESPONSE_TOO_LARGE"),
        refusal(seconds=None),
        refusal(domain="another"),
        grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), grpc.aio.Metadata()),
        grpc.aio.AioRpcError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.aio.Metadata(),
            grpc.aio.Metadata((errors.STATUS_DETAILS_KEY, b"\xff")),
        ),
    ],
)
async def test_what_waiting_would_not_change_is_raised(other: grpc.aio.AioRpcError) -> None:
    server = Server(other)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.asked()
    assert caught.value is other
    assert (server.calls, server.waits) == (1, [])
