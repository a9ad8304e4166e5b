"""policy unused, matrix and schema: from real logs, to the screen and to files."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.call import Principal
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.observing import CallRecord
from secure_rpc.policy.document import load

from support.policy_command import Shell
from support.policy_ground import POLICY, write_files
from support.target import ISSUER

ALICE = Principal(issuer=ISSUER, subject="alice", groups=frozenset({"callers"}))
SECOND = f'  - {{ name: second, role: caller, principals: [{{ issuer: "{ISSUER}", group: others }}] }}\n'
DAY = 86_400


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a folder with a policy of two bindings."""
    paths = {"policy_file": "policy.yaml", "rollout_file": "rollout.yaml"}
    write_files(tmp_path, policy=POLICY + SECOND, authorization=paths, audit={"file": "audit.log"})
    return Shell(tmp_path, monkeypatch)


@pytest.fixture
def log(shell: Shell) -> Callable[..., Awaitable[None]]:
    """Return what writes an audit log: calls by a rule, so many days ago."""

    async def write(*calls: tuple[str, float], name: str = "audit.log", version: str = "") -> None:
        version = version or load(shell.folder / "policy.yaml").version
        chain_log = ChainLog(shell.folder / name)
        for number, (rule, days_ago) in enumerate(calls):
            at = time.time() - days_ago * DAY
            path, peer = "/probe.v1.ProbeService/Unary", "ipv4:127.0.0.1:1"
            chain_log.add(
                CallRecord(at, str(number), path, "unary", ALICE, "", "", rule, peer, "OK", "", 0.001, (), version)
            )
        await chain_log.close()

    return write


async def test_unused_tells_what_was_not_used_and_how_much_that_says(
    shell: Shell, log: Callable[..., Awaitable[None]]
) -> None:
    await log(("callers", 10), ("callers", 0))
    done = shell.run("unused")
    assert (done.code, done.err) == (0, "")
    assert " (10 days), 2 allowed by a binding\n" in done.out
    assert "(that of now)" in done.out
    assert "never used: second (policy.yaml:9)\n" in done.out
    assert "absence says little below 90 days" in done.out
    assert "role that nobody used" not in done.out


async def test_unused_of_a_long_log_in_which_all_is_used_says_so(
    shell: Shell, log: Callable[..., Awaitable[None]]
) -> None:
    await log(("callers", 100), name="one.log")
    await log(("second", 0), ("bindings[7] gone", 1), name="two.log", version="older")
    done = shell.run("unused", "--audit", "one.log", "--audit", "two.log")
    assert done.out.endswith("everything that is given was used\n")
    assert "left out: 1 call by bindings of other versions" in done.out
    assert "2 by policy older\n" in done.out
    recent = shell.run("unused", "--audit", "one.log", "--audit", "two.log", "--days", "30")
    assert "never used: callers" in recent.out


async def test_unused_refuses_a_log_that_is_not_whole_unless_told(
    shell: Shell, log: Callable[..., Awaitable[None]]
) -> None:
    await log(("callers", 2), ("second", 1), ("callers", 0))
    lines = shell.read("audit.log").splitlines(keepends=True)
    shell.write("audit.log", "".join(line for line in lines if '"second"' not in line) + "torn")
    done = shell.run("unused")
    assert (done.code, done.out) == (EX_CONFIG, "")
    assert "is not whole" in done.err
    told = shell.run("unused", "--unverified")
    assert told.code == 0
    assert told.out.startswith("warning: audit.log is not whole")
    assert "never used: second" in told.out


async def test_unused_says_so_where_there_is_nothing_to_tell_from(
    shell: Shell, log: Callable[..., Awaitable[None]]
) -> None:
    await log()
    assert shell.run("unused").out == "the log has no calls in that time: nothing can be told\n"


def test_matrix_prints_a_table_or_writes_a_page(shell: Shell) -> None:
    shown = shell.run("matrix")
    assert (shown.code, shown.err) == (0, "")
    assert "✗" in shown.out
    written = shell.run("matrix", "--html", "matrix.html")
    assert (written.code, written.out) == (0, "")
    page = shell.read("matrix.html")
    assert '<th scope="row">mallory</th>' in page
    assert '<td class="depends"><span aria-hidden="true">◐</span> depends: tenant acme</td>' in page
    assert shell.run("matrix", "--html", "no/such/page.html").code == EX_CONFIG


@pytest.mark.parametrize("name", ["policy", "policy_test"])
def test_schema_prints_one_that_knows_this_service_and_accepts_its_files(shell: Shell, name: str) -> None:
    done = shell.run("schema", name)
    assert (done.code, done.err) == (0, "")
    made = json.loads(done.out)
    loaded = yaml.load(shell.read(f"{name}.yaml"), yaml.BaseLoader) | {"version": 1}  # noqa: S506  # only text
    jsonschema.validate(loaded, made, cls=jsonschema.Draft7Validator)
    typo = json.loads(json.dumps(loaded).replace("probe.call", "probe.cal").replace(ISSUER, ISSUER + "x"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(typo, made, cls=jsonschema.Draft7Validator)


def test_schema_of_any_service_names_nothing_of_this_one(shell: Shell) -> None:
    assert "probe" not in shell.run("schema", "--any-service").out
    assert shell.run("schema", "polcy").code == EX_CONFIG
