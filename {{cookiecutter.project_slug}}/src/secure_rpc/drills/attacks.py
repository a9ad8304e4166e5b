"""Drills on what callers do who should not: calls made twice, another tenant's things, a call that ends gRPC's loop."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time

from google.protobuf.descriptor import MethodDescriptor

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.issuer import Caller
from secure_rpc.dev.setup import token_issuer
from secure_rpc.drills import hostile
from secure_rpc.drills.plan import Outcome, Plan, is_replay_protected
from secure_rpc.drills.story import Story, told

TIMES = 40
HOSTILE_CALLS = 3
OTHER_TENANT = "drill-other-tenant"


async def replayed(plan: Plan) -> Outcome:
    """Make a captured call again, on the same connection and on others; it is taken once."""
    return await told(plan, _replayed)


async def trespassing(plan: Plan) -> Outcome:
    """Have a user of one tenant ask for what is another's; nothing is told, and it is seen."""
    return await told(plan, _trespassing)


async def crashed(plan: Plan) -> Outcome:
    """Make calls that end grpc.aio's serving loop, then kill a worker as a defect of gRPC's core would."""
    return await told(plan, _crashed)


def _protected(plan: Plan) -> MethodDescriptor:
    for method in plan.every_method:
        if is_replay_protected(method) and not (method.client_streaming or method.server_streaming):
            return method
    raise ConfigurationError("no unary method is replay_protected in its proto; there is nothing to be replayed")


async def _replayed(story: Story) -> None:
    alert, method = "ReplaysDetected", _protected(story.plan)
    captured = [("request-nonce", secrets.token_urlsafe(16)), ("request-time", f"{time.time():.6f}")]
    await story.calm(alert)
    one = story.caller.bare_channel()
    first = await story.caller.told(one, method, captured)
    story.expect(not first.endswith("REPLAYED"), f"the call itself was told {first}")
    story.fault("the call is captured, and made again")
    again = {await story.caller.told(one, method, captured) for _ in range(3)}
    again |= {await story.caller.told(story.caller.bare_channel(), method, captured) for _ in range(3)}
    story.expect(again == {"ALREADY_EXISTS REPLAYED"}, f"made again it was told {', '.join(sorted(again))}")
    await story.signal("sum(secure_rpc_replays_detected_total)", "replays are counted")
    await story.alert(alert)
    said = await story.runbook(alert, "replay")
    story.expect("REPLAYED" in said, "the runbook does not show the calls in the audit log")
    await story.recovered("new calls are taken", lambda: _taken(story, method))
    await story.resolved(alert)


async def _taken(story: Story, method: MethodDescriptor) -> bool:
    return not (await story.caller.told(story.caller.channel(), method)).endswith("REPLAYED")


async def _trespassing(story: Story) -> None:
    alert = "ErrorBudgetBurnsFast"
    issuer = token_issuer(story.ground.settings, story.ground.files)
    mine = story.caller.channel()
    await story.calm(alert)
    intruder = Caller(subject="drill-intruder", tenants=(OTHER_TENANT,), groups=("readers", "writers"))
    token = issuer.token(intruder)
    channel = story.caller.channel(lambda: token)
    story.fault("a user of another tenant asks for what is not its own")
    ends = set()
    for _ in range(TIMES):
        ends.add(await story.caller.told(channel))
        await asyncio.sleep(0.1)
    story.expect(all(each.startswith("PERMISSION_DENIED") for each in ends), f"it was told {', '.join(sorted(ends))}")
    await story.signal(
        'sum(secure_rpc_refusals_total{grpc_status="PERMISSION_DENIED"})',
        "refusals are counted",
    )
    await story.alert(alert)
    said = await story.runbook("revocation", "tenant-breach", SUBJECT=intruder.subject)
    story.expect(intruder.subject in said, "the runbook does not show who it was")

    async def is_shut_out() -> bool:
        return (await story.caller.told(channel)).startswith("UNAUTHENTICATED")

    await story.recovered("the user's tokens count no more", is_shut_out)
    story.expect(await story.caller.answered(mine), "others are refused, too")
    await story.resolved(alert)


async def _crashed(story: Story) -> None:
    alert, restarts = "WorkersRestart", "sum(secure_rpc_worker_restarts_total)"
    channel = story.caller.channel()
    await story.calm(alert)
    for _ in range(HOSTILE_CALLS):
        await hostile.call(story.ground)
    story.expect(await story.caller.answered(channel), "a hostile call has ended the serving loop")
    story.expect(not await story.watch.value(restarts), "a hostile call has ended a worker")
    victim = int((await story.ground.process.line("serving"))["pid"])
    os.kill(victim, signal.SIGSEGV)
    story.fault(
        f"the process {victim} ends by a segmentation fault; calls with a path that is no UTF-8 did not do that"
    )
    await story.signal(restarts, "the supervisor has replaced it")
    await story.alert(alert)
    await story.runbook(alert, "loop-crash")

    async def all_are_ready() -> bool:
        ready = await story.watch.value("sum(secure_rpc_workers_ready)")
        return ready >= story.ground.settings.workers and await story.caller.answered(channel)

    await story.recovered("all workers are ready, and calls are answered", all_are_ready)
    await story.resolved(alert)
