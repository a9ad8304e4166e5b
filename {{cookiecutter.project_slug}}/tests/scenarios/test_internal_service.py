"""An internal service: nobody gets in who was not named, and a new neighbour is named without a restart.

Who is there: a ledger that accounting calls; a newcomer, reporting, that was deployed this morning; its team, which
asks for access, and whoever reviews the policy.
What they want: what nobody was given, nobody has, a sound certificate or not. The review of a policy is the review of a
file; from the moment it is in place it counts, and the audit log tells by which version each call was decided.
What may go wrong: a service is let in since it is "inside"; access needs a restart, which drops the calls under way; a
slip in the file opens everything or shuts everybody out; access that was for a week stays for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application
from secure_rpc.policy.keeper import PolicyKeeper

from probe.v1 import probe_pb2 as pb
from support.clocks import Clock, until
from support.parties import party, refusals, workload_id
from support.sessions import said
from support.target import Target, run_target
from support.world import ending

PATIENCE_SECONDS = 20
DENIED = ("PERMISSION_DENIED", "PERMISSION_MISSING")
ASK = pb.Ask(act="balance")
POLICY = f"""
version: 1
roles:
  reader: {{ permissions: [probe.call] }}
bindings:
  - name: accounting
    role: reader
    principals: [{{ workload: "{workload_id("accounting")}" }}]
    tenants: all
"""
REPORTING = f"""
  - name: reporting, until the audit is over
    role: reader
    principals: [{{ workload: "{workload_id("reporting")}" }}]
    tenants: [acme]
    expires: 2099-01-01T00:00:00Z
"""


@pytest.fixture
async def ledger(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    settings = {"authentication": {"credentials": "certificate"}}  # services alone: no users, no tokens
    async with run_target(application, tmp_path, settings, policy=POLICY) as target:
        yield target


def policy_of(ledger: Target) -> PolicyKeeper:
    return ledger.service.server.platform.policy


async def put_in_place(ledger: Target, text: str) -> None:
    """Replace the policy as a deployment does; the service notices by itself."""
    file = ledger.service.server.settings.authorization.policy_file
    before, new = reloads(ledger), file.with_name("new.yaml")
    new.write_text(text, encoding="utf-8")
    new.replace(file)
    await until(lambda: reloads(ledger) > before, PATIENCE_SECONDS)


def reloads(ledger: Target) -> float:
    return sum(ledger.service.metric("secure_rpc_policy_reloads_total", result=how) for how in ("ok", "refused"))


async def test_a_newcomer_is_nobody_until_the_policy_names_it_and_nobody_else_notices(ledger: Target) -> None:
    async with party(ledger, "accounting") as accounting, party(ledger, "reporting") as reporting:
        stream = accounting.call("Bidi", open_=True)
        await stream.write(ASK)
        assert (await stream.read()).text == ASK.act
        told = await reporting.ask("TenantUnary", tenant="acme")
        assert said(told) == DENIED
        refused = await ledger.record_of(told)
        assert (refused["workload"], refused["rule"]) == (workload_id("reporting"), "no binding gives probe.call")

        await put_in_place(ledger, POLICY + REPORTING)
        assert said(await reporting.ask("TenantUnary", tenant="acme")) == ("OK", "")
        assert said(await reporting.ask("TenantUnary", tenant="globex")) == ("PERMISSION_DENIED", "TENANT_DENIED")
        assert said(await accounting.ask("TenantUnary", tenant="globex")) == ("OK", "")
        await stream.write(ASK)  # begun by the policy before
        assert (await stream.read()).text == ASK.act
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK

    allowed = [each for each in await ledger.service.audit_records() if each["rule"].startswith("reporting, until")]
    assert [each["tenant"] for each in allowed if each["code"] == "OK"] == ["acme"]
    assert {each["policy"] for each in allowed} == {policy_of(ledger).version} != {refused["policy"]}
    assert (refusals(ledger, "PERMISSION_MISSING"), refusals(ledger, "TENANT_DENIED")) == (1, 1)


@pytest.mark.parametrize(
    "slip",
    [
        POLICY + REPORTING.replace("role: reader", "role: raeder"),
        POLICY + REPORTING.replace("tenants: [acme]", "tenant: acme"),
        POLICY[: POLICY.index("reader: {") + 9],
    ],
    ids=["a role that is none", "a key that is none", "half of a file"],
)
async def test_a_slip_in_the_file_shuts_nobody_out_and_lets_nobody_in(ledger: Target, slip: str) -> None:
    async with party(ledger, "accounting") as accounting, party(ledger, "reporting") as reporting:
        before = policy_of(ledger).version
        await put_in_place(ledger, slip)
        assert policy_of(ledger).version == before
        assert said(await accounting.ask()) == ("OK", "")
        assert said(await reporting.ask()) == DENIED
    assert ledger.service.metric("secure_rpc_policy_reloads_total", result="refused") >= 1
    told = [each for each in await ledger.service.audit_lines() if each["event"] == "policy_reloaded"]
    assert [each["result"] for each in told] == ["refused"]


async def test_access_that_was_given_for_a_time_ends_by_itself_streams_too(ledger: Target) -> None:
    await put_in_place(ledger, POLICY + REPORTING)
    async with party(ledger, "reporting") as reporting:
        stream = reporting.call("Bidi", open_=True)
        await stream.write(ASK)
        assert (await stream.read()).text == ASK.act
        engine: Any = policy_of(ledger)._active.engine
        engine._clock = Clock(datetime(2099, 1, 2, tzinfo=UTC).timestamp())
        await ledger.service.server.platform.live.review()
        assert said(await ending(stream)) == DENIED
        assert said(await reporting.ask("TenantUnary", tenant="acme")) == DENIED
    assert refusals(ledger, "PERMISSION_MISSING") == 2
