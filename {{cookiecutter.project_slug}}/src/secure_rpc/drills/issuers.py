"""Drills on the issuer: its keys come too late, or not at all any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from secure_rpc.configuration import read_yaml
from secure_rpc.dev.issuer import find_caller, load_callers
from secure_rpc.drills.ground import Copy
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.provider import Provider
from secure_rpc.drills.story import Story, told

# a sixtieth of what is usual, but for the limit: the rules run as fast, and the machine does not
KEYS = {"refresh_seconds": 5, "minimum_interval_seconds": 0.2, "stale_limit_seconds": 180}
FRESH_SECONDS = 10
ROLL_SECONDS = 90.0  # each worker starts in seconds, or in many where the machine has much to do
TRIES = 200
PAUSE_SECONDS = 0.1
FAILED = 'sum(secure_rpc_issuer_key_fetches{result="failed"})'
AGE = "max(secure_rpc_issuer_keys_age_seconds)"
ASKED = "UNAVAILABLE TOKEN_INTROSPECTION_UNAVAILABLE"


async def slow(plan: Plan) -> Outcome:
    """Have the issuer answer too late; who is known goes on, who has to be asked about is refused."""
    return await _told(plan, _slow)


async def down(plan: Plan) -> Outcome:
    """Have the issuer gone until its keys are nearly too old; the service is given them by a file."""
    return await _told(plan, _down)


async def _told(plan: Plan, tell: Callable[[Story, Provider], Awaitable[None]]) -> Outcome:
    provider = Provider(find_caller(load_callers(plan.callers), plan.caller))
    issuers = read_yaml(plan.config).data["authentication"]["issuers"]

    async def settle(copy: Copy) -> Mapping[str, Any]:
        await provider.settle(copy)
        own = next(each for each in copy.settings.authentication.issuers if each.jwks_file)
        by_url = {
            "jwks_file": None,
            "jwks_url": provider.keys_url,
            "introspection": {"url": provider.ask_url},
            "fetch": {"ca_file": str(copy.files.ca_certificate), "timeout_seconds": 1},
        }
        changed = [by_url if each is own else {} for each in copy.settings.authentication.issuers]
        return {"authentication": {"issuers": changed}}

    usual = {"authentication": {"issuers": [{"keys": KEYS} for _ in issuers]}}
    try:
        return await told(plan, lambda story: tell(story, provider), usual, settle)
    finally:
        await provider.end()


async def _slow(story: Story, provider: Provider) -> None:
    alert = "IssuerKeysAge"
    known = story.caller.channel()
    opaque = ""
    asked = story.caller.channel(lambda: opaque)
    await story.calm(alert)
    opaque = "drill-before"
    story.expect(await story.caller.answered(asked), "an opaque token that the issuer vouches for is refused")
    before = await story.watch.value(FAILED)
    provider.slow_down()
    story.fault("the issuer answers later than it is waited for")
    await story.signal(f"{FAILED} - {before:g}", "its keys cannot be fetched in time")
    story.expect(await _waits_for_nobody(story, provider), "a call by a key that is known has waited for the issuer")
    opaque = "drill-meanwhile"
    answer = await story.caller.told(asked)
    story.expect(answer == ASKED, f"an opaque token that nobody could be asked about was told {answer}")
    await story.alert(alert)
    story.expect(await story.caller.answered(known), "a call by a key that is known is refused")
    said = await story.runbook(alert, "issuer-slow")
    story.expect('result="failed"' in said, "the runbook does not show that fetches fail")
    provider.hurry()
    story.happened("remedy", "its owners have made the issuer quick again")
    opaque = "drill-after"

    async def is_fresh() -> bool:
        return await story.watch.value(AGE) < FRESH_SECONDS and await story.caller.answered(asked)

    await story.recovered("the keys are fresh, and the issuer can be asked", is_fresh)
    await story.resolved(alert)


async def _waits_for_nobody(story: Story, provider: Provider) -> bool:
    """Tell whether a call with a known key is answered while the issuer holds back its keys."""
    channel = story.caller.channel()
    for _ in range(TRIES):
        before = provider.held
        if before and await story.caller.answered(channel) and provider.held:
            return True
        await asyncio.sleep(PAUSE_SECONDS)
    return False


async def _down(story: Story, provider: Provider) -> None:
    alert = "IssuerKeysNearTheirLimit"
    channel = story.caller.channel()
    await story.calm("IssuerKeysAge", alert)
    kept = provider.keys(story.folder)
    served = asyncio.create_task(story.caller.keep_calling([channel]))
    try:
        before = await story.watch.value(FAILED)
        await provider.end()
        story.fault("the issuer is gone")
        await story.signal(f"{FAILED} - {before:g}", "its keys cannot be fetched")
        await story.alert("IssuerKeysAge")
        await story.alert(alert)
    finally:
        served.cancel()
        [refused] = await asyncio.gather(served, return_exceptions=True)
    story.expect(not refused, f"meanwhile calls by keys that are known were told {refused}")
    supervisor = str(story.ground.process.process.pid)
    await story.runbook("issuer-keys-outage", "issuer-down", KEYS=str(kept), SUPERVISOR=supervisor)
    await story.ground.process.line("rolled", ROLL_SECONDS)

    async def is_fresh() -> bool:
        return await story.watch.value(AGE) < FRESH_SECONDS and await story.caller.answered(channel)

    await story.recovered("the keys are those of the file, and calls are answered", is_fresh)
    await story.resolved(alert)
