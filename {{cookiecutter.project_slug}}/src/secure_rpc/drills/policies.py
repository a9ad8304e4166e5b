"""Drills on the policy: a file that is wrong, and a candidate that would shut callers out."""

from __future__ import annotations

from typing import Any

import yaml

from secure_rpc.configuration import read_yaml
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.story import Story, told

CALLS = 400
CANDIDATE_CALLS = 40  # to be refused by it: more than it may, before it counts
WRONG = "version: 1\nroles: [\n"


async def misconfigured(plan: Plan) -> Outcome:
    """Put a policy in place that is none; the one of before decides until it is put back."""
    return await told(plan, _misconfigured)


async def rolled_back(plan: Plan) -> Outcome:
    """Have a candidate decide that refuses everybody; it takes itself back."""
    return await told(plan, _rolled_back)


async def _misconfigured(story: Story) -> None:
    file = story.ground.settings.authorization.policy_file
    channel = story.caller.channel()
    await story.calm("PolicyReloadRefused")
    story.expect(await story.caller.answered(channel), "a call was refused before anything was done")
    file.with_suffix(".yaml.previous").write_bytes(file.read_bytes())
    file.write_text(WRONG, encoding="utf-8")
    story.fault("policy.yaml is no policy any more")
    refused = 'sum(secure_rpc_policy_reloads_total{result="refused"})'
    await story.signal(refused, "the service does not take it up")
    story.expect(await story.caller.answered(channel), "calls are refused although the policy of before should decide")
    await story.alert("PolicyReloadRefused")
    before = await story.watch.value('sum(secure_rpc_policy_reloads_total{result="ok"})')
    await story.runbook("PolicyReloadRefused", "policy-misconfiguration")

    async def is_taken_up() -> bool:
        taken = await story.watch.value('sum(secure_rpc_policy_reloads_total{result="ok"})')
        return taken > before and await story.caller.answered(channel)

    await story.recovered("the policy is taken up, and calls are answered", is_taken_up)
    await story.resolved("PolicyReloadRefused")


async def _rolled_back(story: Story) -> None:
    file = story.ground.settings.authorization.policy_file
    channel = story.caller.channel()
    await story.calm("PolicyRolledBack")
    data: dict[str, Any] = dict(read_yaml(file).data)
    data["bindings"] = []
    candidate = file.with_name("candidate.yaml")
    candidate.write_text(yaml.safe_dump(data), encoding="utf-8")
    rollout = {"candidate": candidate.name, "percent": 100, "max_refusal_rise": 0.02, "minimum_calls": 5}
    file.with_name("rollout.yaml").write_text(yaml.safe_dump(rollout), encoding="utf-8")
    story.fault("a candidate that gives nobody anything decides for all callers")
    refused = 0
    for _ in range(CALLS):
        if refused > CANDIDATE_CALLS or await story.watch.value("sum(secure_rpc_policy_rollbacks_total)"):
            break
        refused += not await story.caller.answered(channel)
    story.expect(refused <= CANDIDATE_CALLS, f"{refused} calls were refused, and it still decides")
    await story.signal("sum(secure_rpc_policy_rollbacks_total)", "it takes itself back")
    await story.alert("PolicyRolledBack")

    async def is_answered() -> bool:
        answers = [await story.caller.answered(channel) for _ in range(10)]
        return all(answers)

    await story.recovered("the policy of before decides again", is_answered)
    await story.runbook("policy-rollback", "policy-rollback")
    story.expect(not file.with_name("rollout.yaml").exists(), "the candidate is still staged")
    await story.resolved("PolicyRolledBack")
