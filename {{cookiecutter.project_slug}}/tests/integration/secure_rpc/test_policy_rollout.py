"""A candidate policy is tried on a share of the callers: a bad one takes itself back, a good one is promoted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from secure_rpc.call import Principal
from secure_rpc.dev.issuer import Caller
from secure_rpc.platform import Application
from secure_rpc.policy import keeper
from secure_rpc.policy.shadow import share_of

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.target import ISSUER, POLICY, Target, run_target

C = grpc.StatusCode
BAD = POLICY.replace("group: callers", "group: others")
GOOD = POLICY.replace("tenants: own", "tenants: all")
ROLLOUT = "candidate: candidate.yaml\npercent: {percent}\nmax_refusal_rise: 0.2\nminimum_calls: 5\n"
USERS = [f"caller-{number}" for number in range(80)]
CANARIES = [user for user in USERS if share_of(Principal(issuer=ISSUER, subject=user)) < 10]


@pytest.fixture
async def target(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    files = {"policy_file": tmp_path / "policy.yaml", "rollout_file": tmp_path / "rollout.yaml"}
    overrides = {"authorization": files}
    async with run_target(application, tmp_path, overrides) as running:
        yield running


async def stage(target: Target, folder: Path, candidate: str, percent: float) -> None:
    (folder / "candidate.yaml").write_text(candidate, encoding="utf-8")
    (folder / "rollout.yaml").write_text(ROLLOUT.format(percent=percent), encoding="utf-8")
    await target.service.server.platform.policy.reload()


async def call_as_everybody(target: Target, tenant: str = "acme") -> dict[str, grpc.StatusCode]:
    ends = {}
    for user in USERS:
        token = target.service.issuer.token(Caller(subject=user, tenants=("acme",), groups=("callers",)))
        told = await target.ask("TenantUnary", pb.Ask(act="anything", tenant=tenant), authorization=f"Bearer {token}")
        ends[user] = told.code
    return ends


def differences(target: Target, direction: str) -> float:
    name = "secure_rpc_policy_shadow_differences_total"
    return target.service.metric(name, grpc_method="probe.v1.ProbeService/TenantUnary", direction=direction)


def test_some_of_the_users_are_canaries_and_most_are_not() -> None:
    assert 5 <= len(CANARIES) <= 15


async def test_a_candidate_that_only_watches_refuses_nobody_and_tells_what_it_would_do(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await stage(target, tmp_path, BAD, 0)
    assert set((await call_as_everybody(target)).values()) == {C.OK}
    assert (differences(target, "would_deny"), differences(target, "would_allow")) == (len(USERS), 0)
    assert caplog.text.count("the candidate policy would deny caller-7 of") == 1
    await stage(target, tmp_path, GOOD, 0)
    assert set((await call_as_everybody(target, tenant="globex")).values()) == {C.PERMISSION_DENIED}
    assert differences(target, "would_allow") == len(USERS)


async def test_a_bad_candidate_at_ten_percent_takes_itself_back(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await stage(target, tmp_path, BAD, 10)
    assert target.service.metric("secure_rpc_policy_rollout_percent") == 10
    ends = await call_as_everybody(target)
    refused = [user for user, code in ends.items() if code is not C.OK]
    assert refused == CANARIES[:4]  # the fifth call that it decides is the first that counts, and is not refused
    assert target.service.metric("secure_rpc_policy_rollbacks_total") == 1
    assert target.service.metric("secure_rpc_policy_rollout_percent") == 0
    assert "of 5 callers that the candidate decided for, it refused 5 what the active policy allows" in caplog.text
    assert set((await call_as_everybody(target)).values()) == {C.OK}
    await target.service.server.platform.policy.reload()  # whatever makes the files be read again
    assert set((await call_as_everybody(target)).values()) == {C.OK}
    records = Counter(record["code"] for record in await target.service.audit_records())
    assert records == {"OK": 3 * len(USERS) - 4, "PERMISSION_DENIED": 4}  # no call is lost


async def test_a_good_candidate_decides_for_its_share_and_then_for_all(target: Target, tmp_path: Path) -> None:
    await stage(target, tmp_path, GOOD, 10)
    ends = await call_as_everybody(target, tenant="globex")
    assert [user for user, code in ends.items() if code is C.OK] == CANARIES
    records = await target.service.audit_records()
    [active, candidate] = (
        {record["policy"] for record in records if record["code"] == "PERMISSION_DENIED"},
        {record["policy"] for record in records if record["code"] == "OK"},
    )
    assert active.isdisjoint(candidate)
    (tmp_path / "rollout.yaml").unlink()  # promotion: the candidate becomes the policy
    (tmp_path / "candidate.yaml").replace(tmp_path / "policy.yaml")
    await target.service.server.platform.policy.reload()
    assert set((await call_as_everybody(target, tenant="globex")).values()) == {C.OK}
    assert target.service.metric("secure_rpc_policy_rollbacks_total") == 0


async def test_a_bad_candidate_file_leaves_the_active_policy_alone(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await stage(target, tmp_path, "version: 1\nroles: {a: {permissions: [probe.cal]}}", 50)
    assert 'did you mean "probe.call"?' in caplog.text
    assert set((await call_as_everybody(target)).values()) == {C.OK}


async def test_a_candidate_is_found_when_its_file_appears_and_forgotten_when_it_goes(
    target: Target, tmp_path: Path
) -> None:
    active = target.service.server.platform.policy._active
    (tmp_path / "candidate.yaml").write_text(BAD, encoding="utf-8")
    (tmp_path / "rollout.yaml").write_text(ROLLOUT.format(percent=0), encoding="utf-8")
    await until(lambda: active.shadow is not None, within_seconds=20)
    first = active.shadow
    (tmp_path / "candidate.yaml").write_text(GOOD, encoding="utf-8")
    await until(lambda: active.shadow is not first, within_seconds=20)
    (tmp_path / "rollout.yaml").unlink()
    await until(lambda: active.shadow is None, within_seconds=20)


async def test_a_fault_of_ours_does_not_end_the_watch(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = target.service.server.platform.policy

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(keeper, "load_rollout", fail)
    (tmp_path / "rollout.yaml").write_text("candidate: x", encoding="utf-8")
    await policy.reload()
    assert "the policy is left as it was" in caplog.text
    assert target.service.metric("secure_rpc_policy_reloads_total", result="refused") >= 1
