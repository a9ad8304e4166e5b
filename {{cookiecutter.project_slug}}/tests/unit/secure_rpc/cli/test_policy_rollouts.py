"""policy stage, promote and drop: files that are whole at each moment, and a way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.policy.keeper import load_rollout

from support.policy_command import Shell
from support.policy_ground import POLICY, write_files
from support.target import ISSUER

WIDER = "# the next one\n" + POLICY.replace("tenants: own", "tenants: all")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a folder whose settings name files in a folder of the policy's."""
    (tmp_path / "policy").mkdir()
    write_files(tmp_path, authorization={"policy_file": "policy/policy.yaml", "rollout_file": "policy/rollout.yaml"})
    made = Shell(tmp_path, monkeypatch)
    made.write("policy/policy.yaml", POLICY)
    made.write("policy/next.yaml", WIDER)
    return made


def files(shell: Shell) -> set[str]:
    return {path.name for path in (shell.folder / "policy").iterdir()}


def test_a_candidate_is_staged_widened_promoted_and_taken_back(shell: Shell) -> None:
    done = shell.run("stage", "policy/next.yaml")
    assert (done.code, done.err) == (0, "")
    assert "watches and decides for nobody" in done.out
    assert f"group callers of {ISSUER} gains probe.call for all tenants; before for their own tenants" in done.out
    assert shell.run("stage", "policy/next.yaml", "--percent", "25", "--minimum-calls", "7").code == 0
    rollout = load_rollout(shell.folder / "policy/rollout.yaml")
    assert (rollout.candidate, rollout.percent, rollout.minimum_calls) == ("next.yaml", 25, 7)

    promoted = shell.run("promote")
    assert (promoted.code, promoted.err) == (0, "")
    assert shell.read("policy/policy.yaml") == WIDER
    assert files(shell) == {"policy.yaml", "policy.yaml.previous", "next.yaml"}
    *_, back = promoted.out.strip().partition("to go back: mv ")
    before, now = back.split()
    Path(before).replace(now)
    assert shell.read("policy/policy.yaml") == POLICY


def test_a_candidate_is_dropped_and_nothing_else_changes(shell: Shell) -> None:
    shell.run("stage", "policy/next.yaml")
    assert shell.run("drop").code == 0
    assert files(shell) == {"policy.yaml", "next.yaml"}
    assert shell.read("policy/policy.yaml") == POLICY


def test_a_candidate_in_another_folder_is_found_by_the_server_and_by_promote(shell: Shell) -> None:
    (shell.folder / "other").mkdir()
    shell.write("other/next.yaml", WIDER)
    assert shell.run("stage", "other/next.yaml").code == 0
    assert load_rollout(shell.folder / "policy/rollout.yaml").candidate == "../other/next.yaml"
    assert shell.run("promote").code == 0
    assert shell.read("policy/policy.yaml") == WIDER


def test_promoting_again_keeps_the_policy_that_was_really_before(shell: Shell) -> None:
    for _ in range(2):
        shell.run("stage", "policy/next.yaml")
        assert shell.run("promote").code == 0
    assert shell.read("policy/policy.yaml.previous") == POLICY


def test_modes_and_links_are_kept(shell: Shell) -> None:
    policy = shell.folder / "policy/policy.yaml"
    policy.rename(shell.folder / "policy/real.yaml")
    policy.symlink_to("real.yaml")
    (shell.folder / "policy/real.yaml").chmod(0o640)
    shell.run("stage", "policy/next.yaml")
    assert shell.run("promote").code == 0
    assert policy.is_symlink()
    assert shell.read("policy/real.yaml") == WIDER
    assert (shell.folder / "policy/real.yaml").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stage", "policy/none.yaml"], "none.yaml: cannot be read"),
        (["stage", "policy/policy.yaml"], "is the policy that decides already"),
        (["stage", "policy/wrong.yaml"], 'no method asks for the permission "probe.cal"; did you mean "probe.call"?'),
        (["stage", "policy/next.yaml", "--minimum-calls", "0"], "minimum_calls: Input should be greater than 0"),
        (["promote"], "rollout.yaml: is not there, so there is no candidate"),
        (["drop"], "rollout.yaml: is not there, so there is no candidate"),
    ],
)
def test_what_cannot_be_done_changes_no_file(shell: Shell, arguments: list[str], told: str) -> None:
    shell.write("policy/wrong.yaml", POLICY.replace("probe.call", "probe.cal"))
    before = files(shell)
    done = shell.run(*arguments)
    assert (done.code, done.out) == (EX_CONFIG, "")
    assert told in done.err
    assert files(shell) == before
    assert shell.read("policy/policy.yaml") == POLICY


def test_a_candidate_that_went_wrong_after_it_was_staged_is_not_promoted(shell: Shell) -> None:
    shell.run("stage", "policy/next.yaml")
    shell.write("policy/next.yaml", WIDER.replace("probe.call", "probe.cal"))
    assert shell.run("promote").code == EX_CONFIG
    assert shell.read("policy/policy.yaml") == POLICY
    assert "rollout.yaml" in files(shell)


def test_without_a_rollout_file_in_the_settings_nothing_is_written(shell: Shell) -> None:
    settings = shell.read("settings.yaml").replace("rollout_file: policy/rollout.yaml", "rollout_file: null")
    shell.write("settings.yaml", settings)
    done = shell.run("stage", "policy/next.yaml")
    assert (done.code, "authorization.rollout_file: is not set" in done.err) == (EX_CONFIG, True)
