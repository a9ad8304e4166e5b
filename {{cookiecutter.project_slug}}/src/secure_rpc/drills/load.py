"""Drills on load: one address that asks for more than there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import grpc

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.drills.elsewhere import from_address
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.story import Story, told
from secure_rpc.drills.traffic import start_call, told_by

ELSEWHERE = "127.0.0.2"
CEILING = 12  # calls at once, in each worker
CONNECTIONS = 16  # so many that none of two workers has but a few
CALLS_EACH = 4  # at once; more in all than two workers take
HELD_SECONDS = 2.0  # a stream that was let in
PAUSE_SECONDS = 0.2  # between a refusal and the next try, which is no client's of ours: it was told to wait longer
OTHERS = 4  # connections of a caller who does as it should
LOAD = {
    "max_concurrent_calls": CEILING,
    "max_concurrent_calls_per_peer": CEILING,
    "fair_share_above": 0.5,
    "refusal_delay_seconds": 0.2,
}
BUSY = ("RESOURCE_EXHAUSTED LOAD_LIMIT", "RESOURCE_EXHAUSTED LOAD_SHED", "RESOURCE_EXHAUSTED PEER_LIMIT")
REVOKED = "UNAUTHENTICATED CREDENTIAL_REVOKED"


async def flooded(plan: Plan) -> Outcome:
    """Have one address ask for all calls that there are, again and again; others are served all the while."""
    if not plan.streams():
        raise ConfigurationError("no method answers with a stream; there is nothing that could be held open")
    return await told(plan, _flooded, {"load": LOAD})


class _Flood:
    """Calls that take their turns and others', from one address.

    Args:
        story: whose service they go to.
        channels: they are made on.
    """

    def __init__(self, story: Story, channels: list[grpc.aio.Channel]) -> None:
        self._plan = story.plan
        self._channels = channels
        self._ends: Counter[str] = Counter()

    def taken(self) -> Counter[str]:
        """Return how calls ended since it was asked last."""
        ends, self._ends = self._ends, Counter()
        return ends

    async def keep_on(self) -> None:
        """Make calls until cancelled."""
        await asyncio.gather(*(self._ask(channel) for channel in self._channels for _ in range(CALLS_EACH)))

    async def _ask(self, channel: grpc.aio.Channel) -> None:
        method = self._plan.streams()[0]
        begin, request = start_call(channel, method), self._plan.request_for(method)
        while True:
            call = begin(iter((request,)) if method.client_streaming else request)
            try:
                await self._hold(call)
                self._ends["let in"] += 1
            except grpc.aio.AioRpcError as error:
                self._ends[told_by(error)] += 1
            finally:
                call.cancel()
            await asyncio.sleep(PAUSE_SECONDS)

    @staticmethod
    async def _hold(call: Any) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_SECONDS):
                async for _ in call:
                    pass


async def _flooded(story: Story) -> None:
    alert = "LoadShed"
    files = story.ground.files
    authority = Authority.load(files.intermediate_certificate, files.intermediate_key)
    request = client_request("flood", story.ground.settings.authentication.trust_domain)
    pair = story.folder / "flood.pem", story.folder / "flood.key"
    authority.issue(request).write(*pair)
    others = [story.caller.channel() for _ in range(OTHERS)]
    async with from_address(ELSEWHERE, story.ground.target) as target:
        flood = _Flood(story, [story.caller.bare_channel(pair, target) for _ in range(CONNECTIONS)])
        await story.calm(alert)
        served = asyncio.create_task(story.caller.keep_calling(others))
        flooding = asyncio.create_task(flood.keep_on())
        try:
            story.fault(f"{ELSEWHERE} asks for {CONNECTIONS * CALLS_EACH} calls at once, and again when it is refused")
            await story.signal("sum(increase(secure_rpc_load_refusals_total[5s]))", "refusals for load are counted")
            await story.alert(alert)
            ends = flood.taken()
            story.expect(any(ends[each] for each in BUSY), f"the flood was told {', '.join(sorted(ends))}")
            said = await story.runbook(alert, "load-flood", PEER=f"ipv4:{ELSEWHERE}", WORKLOAD=request.uris[0])
            story.expect(ELSEWHERE in said, "the runbook does not show where it comes from")
            story.expect(request.uris[0] in said, "the runbook does not show whose certificate it was")
            flood.taken()

            async def is_shut_out() -> bool:
                ends = flood.taken()
                return bool(ends) and set(ends) == {REVOKED}

            await story.recovered("all that the flood is told is that it is revoked, and it takes no room", is_shut_out)
            await story.resolved(alert)
        finally:
            for task in (served, flooding):
                task.cancel()
            refused, *_ = await asyncio.gather(served, flooding, return_exceptions=True)
    story.expect(not refused, f"meanwhile others were told {refused}")
