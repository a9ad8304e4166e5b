"""Drills that watch the alerts: each one passes on the service as it is, and fails where its protection is weakened."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from secure_rpc.drills import runbooks
from secure_rpc.drills.catalogue import DRILLS
from secure_rpc.drills.front import missing
from secure_rpc.drills.watching import RULES, hurried
from secure_rpc.platform import Application

from support.processes import module_of

pytestmark = pytest.mark.waiting
AT_ONCE = 6
WEAK = "weakened"
EDGES = [name for name, each in DRILLS.items() if each.missing is missing]
WATCHED = [name for name in DRILLS if name not in {"rotation", "federation"}]
WEAKENED = {
    "store-outage": ("quota_store_failure=closed", "calls that may do without it are refused"),
    "token-expiry": ("authentication.issuers=[{leeway_seconds: 30}]", "did not tell within"),
    "issuer-slow": (
        "authentication.issuers=[{keys: {stale_limit_seconds: 6}}]",
        "a call by a key that is known",
    ),
    "issuer-down": (
        "authentication.issuers=[{keys: {stale_limit_seconds: 30}}]",
        "were told UNAVAILABLE TOKEN_KEYS_UNAVAILABLE",
    ),
    "cors-failure": ("edge.origins=[https://app.example.org, https://app.example.net]", "not on the list may ask"),
    "proxy-buffer-full": ("edge.limits.stream_bytes=1048576", "bytes that nobody reads"),
    "load-flood": ("load.fair_share_above=1.0", "meanwhile others were told RESOURCE_EXHAUSTED"),
    "key-compromise": ("revocation.deny_list_file=null", "ended with"),
}


@pytest.fixture(scope="module", autouse=True)
def _prometheus() -> None:
    if shutil.which("prometheus") is None:
        reason = "prometheus is not installed: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True)
class Drilled:
    """What came of a drill."""

    folder: Path
    code: int
    said: str

    def figures(self, name: str) -> Any:
        return orjson.loads((self.folder / "figures.json").read_bytes())[name]


async def drilled(module: str, folder: Path, *arguments: str) -> Drilled:
    command = [sys.executable, "-m", module, "drill", "run", *arguments, "--report", str(folder)]
    command += ["--json", str(folder / "figures.json")]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    said = (await process.communicate())[0].decode()
    return Drilled(folder, process.returncode or 0, said)


@pytest.fixture(scope="module")
def drills(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Drilled]:
    """Run all of them, and those that are to fail, some at a time: each waits for the clock most of the time."""
    module, room = module_of(application).partition(".")[0], asyncio.Semaphore(AT_ONCE)
    absent = EDGES if missing() else []
    plans = {name: [name] for name in WATCHED if name not in absent}
    plans |= {
        f"{name} {WEAK}": [name, "--set", setting] for name, (setting, _) in WEAKENED.items() if name not in absent
    }

    async def one(arguments: list[str]) -> Drilled:
        async with room:
            return await drilled(module, tmp_path_factory.mktemp("drill"), *arguments)

    async def run() -> dict[str, Drilled]:
        found = await asyncio.gather(*map(one, plans.values()))
        return dict(zip(plans, found, strict=True))

    return asyncio.run(run())


def of(drills: Mapping[str, Drilled], name: str, how: str = "") -> Drilled:
    """Return what came of a drill; one that needs what is not here is skipped, but where CI runs."""
    if name in EDGES and (reason := missing()):
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return drills[f"{name} {how}".strip()]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WATCHED)
def test_the_fault_is_seen_the_runbook_helps_and_all_is_well_again(drills: Mapping[str, Drilled], name: str) -> None:
    done = of(drills, name)
    assert done.code == 0, done.said
    figures = done.figures(name)
    kinds = [moment["kind"] for moment in figures["moments"]]
    assert kinds[:2] == ["calm", "fault"]
    assert {"alert", "remedy", "recovered", "resolved"} <= set(kinds)
    assert figures["times"]["detect"] > 0
    page = (done.folder / f"{name}.md").read_text()
    assert "\nPassed, " in page
    assert "problem" not in page
    assert (done.folder / f"{name}.svg").read_text().count("<circle") == len(kinds)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WEAKENED)
def test_without_its_protection_a_drill_is_not_passed(drills: Mapping[str, Drilled], name: str) -> None:
    done = of(drills, name, WEAK)
    assert done.code == 1, done.said
    [problem, *_] = done.figures(name)["problems"]
    assert WEAKENED[name][1] in problem


def test_the_rules_are_hurried_and_otherwise_the_same() -> None:
    rules = RULES.read_text()
    fast = hurried(rules)
    assert len(fast.splitlines()) == len(rules.splitlines())
    assert "for: 2m" in rules
    assert not [line for line in fast.splitlines() if "for: " in line and line.strip().endswith("m")]
    assert "rate5m" in fast, "names of recorded series stay"


def test_a_page_that_has_no_commands_for_a_drill_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runbooks, "FOLDER", tmp_path)
    (tmp_path / "page.md").write_text(
        "1. Do:\n\n   ```sh local drill=one\n   echo a\n   ```\n\n```sh local\necho b\n```\n"
    )
    assert runbooks.commands("page", "one") == "echo a\n"
    with pytest.raises(LookupError, match="drill=two"):
        runbooks.commands("page", "two")
    assert not runbooks.exists("other.md")
