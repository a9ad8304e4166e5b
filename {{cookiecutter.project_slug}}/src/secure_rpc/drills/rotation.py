"""All that is replaced in the life of a service, one after the other, under load: certificates, CA, policy, workers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import yaml

from secure_rpc.configuration import read_yaml
from secure_rpc.dev.rotation import Step, rotate
from secure_rpc.dev.setup import renew
from secure_rpc.drills.ground import PATIENCE_SECONDS, Ground, prepared
from secure_rpc.drills.plan import Outcome, Plan, is_safe
from secure_rpc.drills.traffic import Stream, Tally, Traffic

CERTIFICATES = 'secure_rpc_certificate_reloads_total{result="ok"}'
POLICIES = 'secure_rpc_policy_reloads_total{result="ok"}'
NEW_ROLE = "drill"
UNTRUSTED = "UNAUTHENTICATED CERTIFICATE_UNTRUSTED"
ROLLED = "UNAVAILABLE"  # gRPC's own, after the grace
HEADER = ("step", "calls", "failed", "p50 ms", "p99 ms", "streams before", "after", "ended, as documented")


async def run(plan: Plan) -> Outcome:
    """Take all steps under load.

    Raises:
        ConfigurationError: the plan's calls are refused before anything is replaced.
        TimeoutError: a step is not taken up.
    """
    unary = plan.unary()
    streams = plan.streams()
    async with prepared(plan) as ground:
        traffic = Traffic(
            ground,
            (unary, plan.request_for(unary)),
            [(method, plan.request_for(method)) for method in streams],
            plan.rate,
            plan.channels,
        )
        plan.say(
            f"{plan.rate:g} calls/s of {unary.name}, on {plan.channels} channels; "
            f"streams of {', '.join(method.name for method in streams) or 'no method'}; "
            f"workers: {ground.settings.workers}, and one that stands by"
        )
        async with traffic.running():
            tallies = await Life(plan, ground, traffic).live()
    return outcome(tallies)


def outcome(tallies: list[Tally]) -> Outcome:
    """Return what the steps' figures amount to."""
    problems = [problem for tally in tallies for problem in tally.problems]
    problems += [f"{tally.step}: {count} calls ended {how}" for tally in tallies for how, count in tally.failed.items()]
    problems += [f"{tally.step}: no call was made" for tally in tallies if not tally.calls]
    return Outcome(HEADER, [_row(tally) for tally in tallies], problems, {"steps": [_data(each) for each in tallies]})


class Life:
    """What a service goes through.

    Args:
        plan: how long each step is watched.
        ground: the service.
        traffic: its callers, who are at it.
    """

    def __init__(self, plan: Plan, ground: Ground, traffic: Traffic) -> None:
        self._plan = plan
        self._ground = ground
        self._traffic = traffic

    async def live(self) -> list[Tally]:
        """Take one step after the other; return what its callers noticed of each."""
        return [
            await self._step("nothing is replaced", self._nothing),
            await self._step("new certificates", self._renew_certificates),
            await self._step("CA: add", lambda: self._rotate(Step.ADD)),
            await self._step("CA: switch", lambda: self._rotate(Step.SWITCH)),
            await self._step("CA: remove", lambda: self._rotate(Step.REMOVE), _of_removed_ca, anew=True),
            await self._step("new policy", self._change_policy),
            await self._step("roll of the workers", self._roll, _of_roll),
        ]

    async def _step(
        self,
        name: str,
        take: Callable[[], Awaitable[None]],
        documented: Callable[[Stream], str] = lambda _: "",
        *,
        anew: bool = False,
    ) -> Tally:
        self._plan.say(name)
        async with self._traffic.step(name, documented, anew=anew) as tally:
            await take()
            await asyncio.sleep(self._plan.step_seconds)
        return tally

    async def _nothing(self) -> None:
        pass

    async def _renew_certificates(self) -> None:
        async with self._ground.taken_up(CERTIFICATES):
            await asyncio.to_thread(renew, self._ground.settings, self._ground.files)
        await self._traffic.renewed()

    async def _rotate(self, step: Step) -> None:
        async with self._ground.taken_up(CERTIFICATES):
            await asyncio.to_thread(rotate, self._ground.settings, self._ground.files, step)
        await self._traffic.renewed()

    async def _change_policy(self) -> None:
        """Add a role that nobody has: the policy is another one, and its callers are allowed what they were."""
        file = self._ground.settings.authorization.policy_file
        data = read_yaml(file).data
        data["roles"][NEW_ROLE] = next(iter(data["roles"].values()))
        beside = file.with_suffix(".new")
        beside.write_text(yaml.dump(data, Dumper=_WithoutAliases), encoding="utf-8")
        async with self._ground.taken_up(POLICIES):
            beside.replace(file)

    async def _roll(self) -> None:
        self._ground.signal(signal.SIGHUP)
        await self._ground.process.line("rolled", PATIENCE_SECONDS)


class _WithoutAliases(yaml.SafeDumper):
    """Write what stands in two places twice: policies have no anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _of_removed_ca(stream: Stream) -> str:
    return UNTRUSTED if stream.shows_an_old_certificate else ""


def _of_roll(stream: Stream) -> str:
    """Return how a stream ends with its worker; gRPC makes one anew that is safe and had no headers yet (gRFC A6)."""
    return "" if is_safe(stream.method) and not stream.has_begun else ROLLED


def _row(tally: Tally) -> tuple[str, ...]:
    return (
        tally.step,
        f"{tally.calls:,}",
        str(tally.failed.total()),
        f"{tally.latency_ms(50):.1f}",
        f"{tally.latency_ms(99):.1f}",
        str(tally.streams_before),
        str(tally.streams_after),
        ", ".join(f"{count} {how}" for how, count in tally.ended.items()) or "-",
    )


def _data(tally: Tally) -> dict[str, Any]:
    return {
        "step": tally.step,
        "calls": tally.calls,
        "failed": dict(tally.failed),
        "p50_ms": round(tally.latency_ms(50), 3),
        "p99_ms": round(tally.latency_ms(99), 3),
        "streams_before": tally.streams_before,
        "streams_after": tally.streams_after,
        "streams_ended": dict(tally.ended),
        "problems": tally.problems,
    }
