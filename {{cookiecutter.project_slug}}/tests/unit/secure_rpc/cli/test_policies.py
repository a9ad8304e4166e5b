"""policy check, test, explain, who-can, diff: what they print, and how they end."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secure_rpc.cli.people import EX_CONFIG

from support.policy_command import Shell
from support.policy_ground import CASES, POLICY, write_files
from support.target import ISSUER

WIDER = POLICY.replace("tenants: own", "tenants: all")
READERS = f'  - {{ role: caller, principals: [{{ issuer: "{ISSUER}", group: readers }}], tenants: [acme] }}\n'


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a folder whose settings name files beside them."""
    write_files(tmp_path, authorization={"policy_file": "policy.yaml", "rollout_file": "rollout.yaml"})
    return Shell(tmp_path, monkeypatch)


def test_check_says_what_it_saw(shell: Shell) -> None:
    shell.write("next.yaml", WIDER)
    shell.write("rollout.yaml", "candidate: next.yaml\npercent: 5\n")
    done = shell.run("check")
    assert (done.code, done.err) == (0, "")
    assert re.sub(r"\b[0-9a-f]{12}\b", "HASH", done.out).splitlines() == [
        "policy.yaml: policy HASH, 1 role, 1 binding, 1 permission given, for 15 methods",
        "next.yaml: candidate HASH, for 5 % of callers",
        "policy_test.yaml: 5 cases, 22 calls",
        "no warnings",
    ]


def test_check_warns_of_what_is_there_for_nobody_and_of_what_ends(shell: Shell) -> None:
    def day(days: int) -> str:
        return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()

    who = f'principals: [{{ issuer: "{ISSUER}", group: callers }}]'
    shell.write(
        "odd.yaml",
        f"""\
version: 1
roles:
  caller: {{ permissions: [] }}
  spare: {{ includes: [caller] }}
bindings:
  - {{ name: past, role: caller, {who}, expires: {day(-1)} }}
  - {{ name: soon, role: caller, {who}, expires: {day(29)} }}
  - {{ name: later, role: caller, {who}, expires: {day(32)} }}
""",
    )
    done = shell.run("check", "odd.yaml")
    assert done.code == 0
    warnings = [line.removeprefix("warning: ") for line in done.out.splitlines() if line.startswith("warning: ")]
    assert warnings[:4] == [
        "odd.yaml:4: nobody has the role spare",
        "nobody is given the permission probe.call",
        f"odd.yaml:6: past has ended on {day(-1)} and gives nothing any more",
        f"odd.yaml:7: soon ends on {day(29)}, in 28 days",
    ]
    assert {line.rpartition(" ")[2] for line in warnings[4:]} >= {"Unary", "TenantBidi"}
    assert "nobody can call Public" not in warnings


@pytest.mark.parametrize("broken", ["policy.yaml", "next.yaml", "policy_test.yaml", "rollout.yaml"])
def test_check_refuses_whatever_is_misspelt(shell: Shell, broken: str) -> None:
    shell.write("next.yaml", WIDER)
    shell.write("rollout.yaml", "candidate: next.yaml\n")
    assert shell.run("check").code == 0
    shell.write(broken, shell.read(broken).replace("version:", "vesion:").replace("candidate:", "candidat:"))
    done = shell.run("check")
    assert (done.code, done.out) == (EX_CONFIG, "")
    assert (
        f'{broken}:1: "{"candidat" if broken == "rollout.yaml" else "vesion"}" is not known; did you mean' in done.err
    )


def test_test_ends_well_where_the_table_holds(shell: Shell) -> None:
    done = shell.run("test", "--junit", "junit.xml")
    assert (done.code, done.err) == (0, "")
    assert done.out == "policy.yaml: 22 of 22 calls as expected; 10 methods, 1 binding, each of them covered\n"
    suite = ET.fromstring(shell.read("junit.xml"))  # noqa: S314  # ours
    assert (suite.get("tests"), suite.get("failures")) == ("22", "0")


def test_test_shows_each_failure_and_each_gap_and_ends_with_one(shell: Shell) -> None:
    shell.write("wider.yaml", WIDER + READERS)
    done = shell.run("test", "wider.yaml", "--junit", "junit.xml")
    assert (done.code, done.err) == (1, "")
    flat = " ".join(done.out.replace("│", " ").split())
    assert "policy_test.yaml:17 alice calls /probe.v1.ProbeService/TenantUnary for globex deny allow by callers" in flat
    assert "wider.yaml:9: bindings[1] caller: no case that expects allow is allowed by it" in done.out
    assert f"add a case of group readers of {ISSUER} that expects allow" in done.out
    assert done.out.endswith("wider.yaml: 20 of 22 calls as expected; 10 methods, 2 bindings\n")
    suite = ET.fromstring(shell.read("junit.xml"))  # noqa: S314  # ours
    assert (suite.get("tests"), suite.get("failures")) == ("23", "3")
    assert len(suite.findall("./testcase/failure")) == 3


def test_a_gap_alone_ends_with_one(shell: Shell) -> None:
    shell.write("more.yaml", POLICY + READERS)
    done = shell.run("test", "more.yaml")
    assert (done.code, "22 of 22 calls as expected" in done.out) == (1, True)


def test_names_that_would_move_the_cursor_are_shown_and_do_nothing(shell: Shell) -> None:
    shell.write(
        "cases.yaml",
        CASES.replace("mallory:", '"m\\e[31m[red]": ', 1).replace("mallory, methods", '"m\\e[31m[red]", methods'),
    )
    shell.write("none.yaml", "version: 1\nroles: {}\n")
    done = shell.run("test", "none.yaml", "--cases", "cases.yaml", "--junit", "junit.xml")
    assert done.code == 1
    assert "\x1b" not in done.out + shell.read("junit.xml")
    ET.fromstring(shell.read("junit.xml"))  # noqa: S314  # ours


@pytest.mark.parametrize(
    ("arguments", "verdict", "told"),
    [
        (["alice", "TenantUnary", "--tenant", "acme"], "ALLOWED", "policy.yaml:7: callers: applies"),
        (["alice", "TenantUnary"], "ALLOWED", "for the data of acme"),
        (["alice", "TenantUnary", "--tenant", "globex"], "DENIED", "own tenants, and globex is none of them"),
        (["mallory", "Unary"], "DENIED", "policy.yaml:7: callers: the caller is not in the group callers"),
        (["mallory", "Public"], "ALLOWED", "the method is public"),
        (["dave", "TenantUnary"], "ALLOWED", "for the data of globex"),
        (["--issuer", ISSUER, "--subject", "x", "--group", "callers", "Unary"], "ALLOWED", "callers: applies"),
        (["--workload", "spiffe://example.org/x", "Unary"], "DENIED", "and the call has no token"),
        (["alice", "TenantUnary", "--request", '{"tenant": "globex"}'], "DENIED", "globex is none of them"),
    ],
)
def test_explain_says_whether_and_why(shell: Shell, arguments: list[str], verdict: str, told: str) -> None:
    shell.write("callers.yaml", "callers: { dave: { subject: dave, groups: [callers], tenants: [globex] } }\n")
    done = shell.run("explain", "--callers", "callers.yaml", *arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{verdict}: /probe.v1.ProbeService/")
    assert told in done.out


def test_explain_leaves_open_what_the_request_decides(shell: Shell) -> None:
    shell.write("limited.yaml", POLICY + "    condition: request.count < 3\n")
    open_ = shell.run("explain", "alice", "Unary", "--file", "limited.yaml")
    assert open_.out.startswith("DEPENDS: ")
    assert "depends on the request: request.count < 3 (give one by --request)" in open_.out
    for number, verdict in ((2, "ALLOWED"), (3, "DENIED")):
        done = shell.run("explain", "alice", "Unary", "--file", "limited.yaml", "--request", f'{{"count": {number}}}')
        assert done.out.startswith(verdict)
    assert "its condition is false: request.count < 3" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["explain", "alise", "Unary"], 'names "alise"; did you mean "alice"?'),
        (["explain", "alice", "Unry"], 'there is no method "Unry"; did you mean "Unary"?'),
        (["explain", "Unary"], "say who calls, and what"),
        (["explain", "--subject", "x", "Unary"], '"issuer" and "subject" come together'),
        (["explain", "alice", "Unary", "--request", "{"], "is no JSON"),
        (["explain", "alice", "Unary", "--request", "[]"], "is no JSON object"),
        (["explain", "alice", "Unary", "--request", '{"cuont": 1}'], 'has no field "cuont"; did you mean "count"?'),
        (["explain", "alice", "Unary", "--metadata", "x"], "is not of the form name=value"),
        (["who-can", "Unry"], 'there is no method "Unry"; did you mean "Unary"?'),
        (["diff", "policy.yaml", "none.yaml"], "none.yaml: cannot be read"),
        (["diff", "policy.yaml", "-"], "standard input is no UTF-8"),
        (["diff", "-", "-"], "standard input, which there is once"),
        (["test", "--cases", "none.yaml"], "none.yaml: cannot be read"),
        (["test", "--junit", "no/such/folder.xml"], "folder.xml: cannot be written (No such file"),
    ],
)
def test_a_mistake_is_told_in_a_line(shell: Shell, arguments: list[str], told: str) -> None:
    done = shell.run(*arguments, stdin=b"\xff")
    assert (done.code, done.out) == (EX_CONFIG, "")
    assert told in done.err


def test_who_can_names_each_description_and_where_it_stands(shell: Shell) -> None:
    ended = READERS.replace("tenants: [acme]", 'tenants: all, expires: "2020-01-01"').replace("readers", "ended")
    shell.write("more.yaml", POLICY + READERS + ended)
    done = shell.run("who-can", "TenantUnary", "--file", "more.yaml")
    assert done.out.splitlines() == [
        f"group callers of {ISSUER}, for their own tenants (callers, more.yaml:7)",
        f"group readers of {ISSUER}, for tenant acme (bindings[1] caller, more.yaml:9)",
        "left out: 1 description whose binding has ended",
    ]
    other = shell.run("who-can", "TenantUnary", "--file", "more.yaml", "--tenant", "globex").out.splitlines()
    assert other[0] == (
        f"group callers of {ISSUER}, for their own tenants (if globex is one of them) (callers, more.yaml:7)"
    )
    assert len(other) == 2
    assert "everybody with a trusted certificate" in shell.run("who-can", "Public").out
    assert "open to any caller whose identity is verified" in shell.run("who-can", "Refresh").out
    explained = shell.run("explain", "mallory", "Refresh").out
    assert "ALLOWED" in explained
    assert "which bindings give that" not in explained
    shell.write("none.yaml", "version: 1\nroles: {}\n")
    assert shell.run("who-can", "Unary", "--file", "none.yaml").out == "nobody may call /probe.v1.ProbeService/Unary\n"


def test_diff_ends_as_diff_does(shell: Shell) -> None:
    same = shell.run("diff", "policy.yaml", "-", stdin=POLICY.replace("name: callers", "name: others"))
    assert (same.code, same.out) == (0, "nobody gains and nobody loses anything\n")
    shell.write("wider.yaml", WIDER)
    for arguments in (["policy.yaml", "wider.yaml"], ["wider.yaml", "policy.yaml", "--markdown"]):
        done = shell.run("diff", *arguments)
        assert (done.code, done.err) == (1, "")
    assert "| **loses** | <code>group callers of https&#58;//issuer.example.org</code> |" in done.out


def test_diff_reads_policies_that_name_what_is_gone(shell: Shell) -> None:
    done = shell.run("diff", "-", "policy.yaml", stdin=POLICY.replace("probe.call", "probe.gone"))
    assert done.code == 1
    assert "loses probe.gone for their own tenants (methods: none)" in done.out
