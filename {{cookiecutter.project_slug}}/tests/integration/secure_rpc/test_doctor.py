"""The doctor as people run it: on the service's repository, in its own process, and on a service that runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from secure_rpc.cli.main import build
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.dev.authority import Authority, Leaf, client_request
from secure_rpc.doctor import living, running
from secure_rpc.doctor.catalogue import CONFIGURED
from secure_rpc.doctor.checks import Level, Status
from secure_rpc.doctor.facts import Facts
from secure_rpc.doctor.grading import Report, examine
from secure_rpc.doctor.running import Where
from secure_rpc.platform import Application
from secure_rpc.settings import PREFIX

from support.postures import Posture, copied, of_status
from support.processes import Served, serve_process
from support.target import TRUST_DOMAIN

PROMETHEUS = f"spiffe://{TRUST_DOMAIN}/client/prometheus"


@pytest.fixture
def posture(application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Posture:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    copy = copied(application, tmp_path / "service")
    monkeypatch.chdir(copy.folder)
    return copy


def run(posture: Posture, *arguments: str) -> Result:
    return CliRunner().invoke(build(posture.application.build_chain.__module__), ["doctor", *arguments])


def test_the_repository_as_it_is_can_be_looked_at(posture: Posture) -> None:
    answered = run(posture, "--json")
    assert answered.exit_code == 0, answered.output
    report = orjson.loads(answered.stdout)
    assert {check["id"] for check in report["checks"]} == {check.id for check in CONFIGURED}
    assert report["counts"]["unknown"] == 0
    failed = [check for check in report["checks"] if check["result"] == "failed"]
    assert sorted(report["next"]) == sorted(check["id"] for check in failed[:3])
    shown = " ".join(run(posture).stdout.split())
    assert "grade reached: " in shown
    assert all(check["remedy"] in shown for check in failed[:3])


def test_a_rung_that_is_required_and_not_reached_ends_with_1(posture: Posture) -> None:
    posture.harden()
    # what a copy cannot change: the methods of the service itself
    waived = [{"id": "replay", "reason": "is being worked on", "until": datetime.now(UTC).date()}]
    posture.write("doctor.yaml", {"version": 1, "waived": waived})

    def codes() -> list[int]:
        return [run(posture, "--require", level.value).exit_code for level in Level]

    assert codes() == [0, 0, 0]
    posture.set("audit.durability", "deferred")
    assert codes() == [0, 0, 1]
    posture.set("load.adaptive", value=False)
    assert codes() == [0, 1, 1]
    posture.set("logging.format", "console")
    assert codes() == [1, 1, 1]
    assert run(posture).exit_code == 0


def test_an_exception_is_shown_and_lets_a_rung_be_reached(posture: Posture) -> None:
    posture.harden()
    posture.set("logging.format", "console")
    waived = [{"id": "log-format", "reason": "the collector takes it apart", "until": datetime.now(UTC).date()}]
    posture.write("exceptions.yaml", {"version": 1, "waived": waived})
    assert run(posture, "--require", "beginner").exit_code == 1
    answered = run(posture, "--require", "beginner", "--waivers", "exceptions.yaml")
    assert answered.exit_code == 0
    assert "waived" in answered.stdout
    assert "the collector takes it apart" in " ".join(answered.stdout.split())


def test_settings_that_the_manifests_are_not_for_are_looked_at_without_them(posture: Posture) -> None:
    answered = orjson.loads(run(posture, "--config", "config/dev.yaml", "--json").stdout)
    results = {check["id"]: check["result"] for check in answered["checks"]}
    assert results["drain"] == results["pod-security"] == "not applicable"
    assert results["environment"] == results["development-files"] == results["reflection"] == "failed"
    assert answered["grade"] is None
    arguments = ("--config", "config/dev.yaml", "--overlay", "deploy/overlays/dev", "--json")
    with_them = orjson.loads(run(posture, *arguments).stdout)
    assert {check["id"]: check["result"] for check in with_them["checks"]}["replicas"] == "failed"
    posture.write("other/kustomization.yaml", "resources: []\n")
    said = run(posture, "--overlay", "other").stdout
    assert "other holds none of Deployment" in " ".join(said.replace("│", " ").split())


def test_in_a_pod_what_is_in_the_repository_is_not_judged(
    posture: Posture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posture.harden()
    pod = tmp_path / "pod"
    for name in ("config/prod.yaml", "policy/policy.yaml", "certificates", "api_keys.yaml"):
        to = pod / name.replace("policy/", "mounted/")
        to.parent.mkdir(parents=True, exist_ok=True)
        (posture.folder / name).rename(to)
    monkeypatch.chdir(pod)
    monkeypatch.setenv("SECURE_RPC_AUTHORIZATION__POLICY_FILE", "mounted/policy.yaml")
    monkeypatch.setenv("SECURE_RPC_STATE__REDIS_URL", "rediss://redis.example.org")
    report = orjson.loads(run(posture, "--json").stdout)
    results = {check["id"]: check["result"] for check in report["checks"]}
    assert {check for check, result in results.items() if result == "failed"} <= {"replay", "store-secured"}
    for check in ("policy-tested", "wall", "requirements-hashed", "template-version", "alerts-built", "drain"):
        assert results[check] == "not applicable"
    for check in ("certificates-sound", "certificates-last", "api-keys", "policy-sound"):
        assert results[check] == "passed"


def test_a_page_is_written(posture: Posture) -> None:
    (posture.folder / "out").mkdir()
    assert run(posture, "--html", "out/posture.html").exit_code == 0
    text = (posture.folder / "out" / "posture.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert 'href="../docs/audit.md"' in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "config/gone.yaml"], "config/gone.yaml: cannot be read"),
        (["--overlay", "deploy/overlays/gone"], "cannot be read"),
        (["--running", "9464"], "is no host and port, such as 127.0.0.1:9464"),
        (["--html", "gone/posture.html"], "gone/posture.html: cannot be written"),
        (["--running", "127.0.0.1:1", "--ca", "gone.pem"], "no good for TLS"),
    ],
)
def test_what_a_person_did_wrong_is_said_in_a_line(posture: Posture, arguments: list[str], said: str) -> None:
    answered = run(posture, *arguments)
    assert answered.exit_code == EX_CONFIG
    assert said in answered.output
    assert "Traceback" not in answered.output


@pytest.fixture
async def served(application: Application, tmp_path: Path) -> AsyncIterator[Served]:
    admin = {"tls": True, "allowed_workloads": [PROMETHEUS]}
    places = {"listen": {"probe_address": "127.0.0.1:0"}, "admin": admin}
    async with serve_process(application, tmp_path, places) as process:
        yield process


async def look(served: Served, address: str, leaf: Leaf | None) -> Report:
    """Look at a service that runs; with a certificate where its port asks for one."""
    where = Where(address, await served.process.address())
    if leaf is not None:
        folder = served.files.folder
        leaf.write(folder / "scraper.pem", folder / "scraper.key")
        certificate, key = folder / "scraper.pem", folder / "scraper.key"
        where = replace(where, ca_file=served.files.ca_certificate, certificate_file=certificate, key_file=key)
    seen = await asyncio.to_thread(running.look, where, served.settings)
    return examine(Facts(served.settings, running=seen), "a service that runs")


def bad(report: Report) -> dict[str, str]:
    ids = {check.id for check in living.CHECKS}
    return {each.check.id: each.said for each in report.results if each.check.id in ids and not each.good}


async def test_a_service_that_runs_passes_all_and_a_changed_log_is_found(served: Served) -> None:
    scraper = Authority.load(served.files.ca_certificate, served.files.ca_key)
    leaf = scraper.issue(client_request("prometheus", TRUST_DOMAIN))
    address = await served.process.admin()
    async with asyncio.timeout(30):
        while "running-workers" in bad(await look(served, address, leaf)):  # noqa: ASYNC110  # a process tells nobody
            await asyncio.sleep(0.1)
    report = await look(served, address, leaf)
    assert not bad(report)
    passed = of_status(report, Status.PASSED)
    assert {"running-ready", "running-tls", "running-certificates", "running-clock", "running-metrics"} <= passed
    assert {"running-workers", "running-audit", "running-policy"} <= passed
    log = served.settings.audit.file
    log.write_bytes(log.read_bytes().replace(b'"time"', b'"tame"', 1))
    assert set(bad(await look(served, address, leaf))) == {"running-audit"}


async def test_without_a_certificate_probes_are_all_that_is_seen(served: Served) -> None:
    address = await served.process.admin()
    numbers = {"running-metrics", "running-workers", "running-certificates", "running-issuer-keys"}
    numbers |= {"running-revocations", "running-policy"}
    assert set(bad(await look(served, address, None))) == {"running-ready", "running-clock", *numbers}
    probes = f"127.0.0.1:{(await served.process.line('serving'))['probes']}"
    assert set(bad(await look(served, probes, None))) == numbers
