"""Drills on tokens: forged ones, stolen ones, such that end under way, and such of another time."""

from __future__ import annotations

import asyncio
import time

from secure_rpc.dev.authority import Authority, client_request
from secure_rpc.dev.issuer import Caller, TokenIssuer, find_caller, load_callers
from secure_rpc.dev.setup import token_issuer
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.story import Story, told
from secure_rpc.drills.traffic import start_call, told_by

FORGERIES = 60
SHORT_SECONDS = 3
LATE_SECONDS = 2.0
STREAMS = 14  # one after the other: as long as the alert waits
AHEAD_SECONDS = 3600
FORGED = "TOKEN_SIGNATURE_WRONG"
NO_LEEWAY = {"authentication": {"issuers": [{"leeway_seconds": 0}]}}


async def forged(plan: Plan) -> Outcome:
    """Have somebody with a good certificate try tokens of his own making; he is found, and shut out."""
    return await told(plan, _forged)


async def stolen(plan: Plan) -> Outcome:
    """Have a key stolen: whoever shows its certificate is refused once it is revoked, its owner gets another."""
    return await told(plan, _stolen)


async def ended(plan: Plan) -> Outcome:
    """Let tokens end while their streams are open; streams end with them, and not later."""
    return await told(plan, _ended, NO_LEEWAY)


async def early(plan: Plan) -> Outcome:
    """Have an issuer whose clock is an hour ahead; its tokens are refused until it is right."""
    return await told(plan, _early)


def _people(story: Story) -> tuple[TokenIssuer, Caller]:
    issuer = token_issuer(story.ground.settings, story.ground.files)
    return issuer, find_caller(load_callers(story.plan.callers), story.plan.caller)


async def _forged(story: Story) -> None:
    alert = "KeyCompromiseSuspected"
    issuer, caller = _people(story)
    settings, files = story.ground.settings, story.ground.files
    good = story.caller.channel()
    forger = TokenIssuer(issuer.issuer, issuer.audience)
    forger.key_id = issuer.key_id
    authority = Authority.load(files.intermediate_certificate, files.intermediate_key)
    request = client_request("forger", settings.authentication.trust_domain)
    pair = story.folder / "forger.pem", story.folder / "forger.key"
    authority.issue(request).write(*pair)
    await story.calm(alert)
    story.fault("a workload of ours tries tokens that it has signed itself")
    shown = [forger.token(caller)]
    channel = story.caller.channel(lambda: shown[0], pair)
    ends = set()
    for _ in range(FORGERIES):
        shown[0] = forger.token(caller)
        ends.add(await story.caller.told(channel))
        await asyncio.sleep(0.05)
    story.expect(ends == {f"UNAUTHENTICATED {FORGED}"}, f"forged tokens were told {', '.join(sorted(ends))}")
    failures = "sum by (reason) (secure_rpc_token_validation_failures_total)"
    await story.signal(failures, "they are counted by reason")
    await story.alert(alert)
    said = await story.runbook(alert, "token-forgery", WORKLOAD=request.uris[0])
    story.expect(request.uris[0] in said, "the runbook does not show whose certificate it was")

    shown[0] = issuer.token(caller)

    async def is_shut_out() -> bool:
        return await story.caller.told(channel) == "UNAUTHENTICATED CREDENTIAL_REVOKED"

    await story.recovered("its certificate is refused, whatever the token", is_shut_out)
    story.expect(await story.caller.answered(good), "the others are refused, too")
    await story.resolved(alert)


async def _stolen(story: Story) -> None:
    settings, files = story.ground.settings, story.ground.files
    authority = Authority.load(files.intermediate_certificate, files.intermediate_key)
    request = client_request("robbed", settings.authentication.trust_domain)
    old = story.folder / "old.pem", story.folder / "old.key"
    authority.issue(request).write(*old)
    alert = "ErrorBudgetBurnsFast"
    thief = story.caller.channel(certificate=old)
    await story.calm(alert)
    story.expect(await story.caller.answered(thief), "the stolen key does not work to begin with")
    story.fault("somebody else has a workload's key")
    serial = await story.shell(f"openssl x509 -in {old[0]} -noout -serial | cut -d= -f2")
    await story.runbook("key-compromise", "key-compromise", SERIAL=serial.strip())

    async def is_refused() -> bool:
        return await story.caller.told(thief) == "UNAUTHENTICATED CREDENTIAL_REVOKED"

    await story.recovered("the stolen key is refused", is_refused)
    new = story.folder / "new.pem", story.folder / "new.key"
    authority.issue(request).write(*new)
    owner = story.caller.channel(certificate=new)
    story.expect(await story.caller.answered(owner), "its owner is refused with a new certificate")
    for _ in range(FORGERIES):  # for some time: a number that is there at once is no increase for Prometheus
        await story.caller.told(thief)
        await asyncio.sleep(0.1)
    await story.signal(
        'sum(secure_rpc_refusals_total{reason=~".*REVOKED"})', "the thief goes on, and is counted",
    )  # fmt: skip
    await story.alert(alert)
    await story.resolved(alert)


async def _ended(story: Story) -> None:
    alert = "StreamsEndedByAuth"
    issuer, caller = _people(story)
    method = story.plan.streams()[0]
    await story.calm(alert)
    story.fault(f"streams are opened with tokens that end in {SHORT_SECONDS} s")
    ends: set[str] = set()
    token, late = "", 0.0
    channel = story.caller.channel(lambda: token)

    async def hold() -> None:
        nonlocal late, token
        expires = int(time.time()) + SHORT_SECONDS
        token = issuer.token(caller, exp=expires)
        call = start_call(channel, method)(story.plan.request_for(method), timeout=60)
        try:
            async for _ in call:
                pass
            ends.add("OK")
        except Exception as error:  # noqa: BLE001  # gRPC's own
            ends.add(told_by(error))  # type: ignore[arg-type]
        late = max(late, time.time() - expires)

    async def keep_on() -> None:
        for _ in range(STREAMS):
            await hold()

    async with story.meanwhile(keep_on()):
        await story.signal("sum(secure_rpc_streams_ended_by_auth_total)", "streams end with their tokens")
        await story.alert(alert)
    story.expect(ends == {"UNAUTHENTICATED TOKEN_EXPIRED"}, f"streams ended with {', '.join(sorted(ends))}")
    await story.runbook(alert, "token-expiry")
    story.expect(late < LATE_SECONDS, f"a stream has gone on for {late:.1f} s after its token ended")
    token = story.ground.token
    await story.recovered("with a token that counts, calls are answered", lambda: story.caller.answered(channel))
    await story.resolved(alert)


async def _early(story: Story) -> None:
    alert = "ErrorBudgetBurnsFast"
    issuer, caller = _people(story)
    await story.calm(alert)
    story.fault("the issuer's clock is an hour ahead")
    ahead = TokenIssuer(issuer.issuer, issuer.audience, issuer.key, lambda: time.time() + AHEAD_SECONDS)
    shown = ahead.token(caller)
    channel = story.caller.channel(lambda: shown)
    ends = set()
    for _ in range(FORGERIES):
        shown = ahead.token(caller)
        ends.add(await story.caller.told(channel))
        await asyncio.sleep(0.05)
    story.expect(
        ends == {"UNAUTHENTICATED TOKEN_NOT_YET_VALID"}, f"tokens of tomorrow were told {', '.join(sorted(ends))}"
    )
    await story.signal("sum(secure_rpc_token_validation_failures_total)", "they are counted by reason")
    await story.alert(alert)
    said = await story.runbook(alert, "clock-skew")
    story.expect("TOKEN_NOT_YET_VALID" in said, "the runbook does not show what the tokens were refused for")
    shown = issuer.token(caller)
    await story.recovered("once its clock is right, tokens count", lambda: story.caller.answered(channel))
    await story.resolved(alert)
