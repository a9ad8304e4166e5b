"""The generated CI, and what else keeps the repository: as its hosts want it, safe, and the same on each of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploying import tools
from tests.lacking import lacking
from tests.workflows import checking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Baked

WORKFLOWS = ("ci", "nightly", "release")
PINNED = re.compile(r"^ *-? *uses: (?P<action>[\w/-]+)@(?P<digest>[0-9a-f]{40}) # (?P<version>v\d+\.\d+\.\d+)$")
# by hand, seen in many public workflows with the same version beside it
ACTIONS = {
    "actions/attest-build-provenance",
    "actions/checkout",
    "actions/download-artifact",
    "actions/setup-node",
    "actions/setup-python",
    "actions/upload-artifact",
    "sigstore/cosign-installer",
}


def workflow(service: Path, name: str) -> Path:
    return service / ".github" / "workflows" / f"{name}.yml"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture
def gitlab(baked: Baked) -> Path:
    """Return a service for GitLab."""
    return baked(ci_provider="gitlab")


# --- GitHub ------------------------------------------------------------------------------------------------


def test_zizmor_finds_nothing_and_would_find_something(service: Path, tmp_path: Path) -> None:
    assert checking.zizmor(service / ".github") == ""
    shutil.copytree(service / ".github", tmp_path / ".github")
    unsafe = workflow(tmp_path, "ci")
    unsafe.write_text(unsafe.read_text().replace('AGAINST="origin/$BASE"', "AGAINST=origin/${{ github.head_ref }}"))
    assert "template-injection" in checking.zizmor(tmp_path / ".github")


def test_actionlint_finds_nothing_and_would_find_something(service: Path, tmp_path: Path) -> None:
    paths = [workflow(service, name) for name in WORKFLOWS]
    assert checking.actionlint(*paths) == []
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(paths[0].read_text().replace("github.base_ref", "github.base_reff"))
    assert {each["message"].split('"')[1] for each in checking.actionlint(wrong)} == {"base_reff"}


def test_the_shell_of_steps_is_clean(service: Path) -> None:
    found, count = {}, 0
    for name in WORKFLOWS:
        for step in checking.steps(workflow(service, name)):
            if "run" in step:
                count += 1
                if said := checking.shellcheck(f"#!/bin/bash -e\n{step['run']}\n"):
                    found[step["run"]] = said
    assert found == {}
    assert count > 10
    assert "SC2086" in checking.shellcheck("#!/bin/bash -e\nmake $TARGET\n")


def test_no_expression_stands_in_shell(service: Path) -> None:
    for name in WORKFLOWS:
        for step in checking.steps(workflow(service, name)):
            assert not checking.EXPRESSION.search(step.get("run", "")), "by env: what it holds is then no shell"


def test_each_action_is_pinned_by_digest_to_one_version(service: Path) -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for name in WORKFLOWS:
        for line in workflow(service, name).read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                pinned = PINNED.match(line)
                assert pinned, line
                pins.setdefault(pinned["action"], set()).add((pinned["digest"], pinned["version"]))
    assert pins.keys() == ACTIONS
    assert {action for action, used in pins.items() if len(used) > 1} == set()


def test_a_job_may_do_what_it_needs_and_no_more(service: Path) -> None:
    may = {}
    for name in WORKFLOWS:
        found = read(workflow(service, name))
        assert found["permissions"] == {}
        assert found["concurrency"]["group"].startswith("${{ github.workflow }}")
        for job, said in found["jobs"].items():
            assert 0 < said["timeout-minutes"] <= 60, (name, job)
            assert said["runs-on"] == "ubuntu-24.04", (name, job)
            may[name, job] = {kind for kind, how in said["permissions"].items() if how == "write"}
            used = [step for step in said["steps"] if step.get("uses", "").startswith("actions/checkout@")]
            assert all(step["with"]["persist-credentials"] is False for step in used)
            # what writes to requests runs nothing of the change
            assert "pull-requests" not in may[name, job] or not used
    assert {job: kinds for job, kinds in may.items() if kinds} == {
        ("ci", "policy-comment"): {"pull-requests"},
        ("release", "image"): {"packages", "id-token", "attestations"},
    }


def test_the_one_check_to_require_waits_for_all_others(service: Path) -> None:
    jobs = read(workflow(service, "ci"))["jobs"]
    assert {*jobs["required"]["needs"]} == jobs.keys() - {"required", "policy-comment"}
    (step,) = jobs["required"]["steps"]
    if shutil.which("jq") is None:
        lacking("jq is not installed: apt-get install jq")
    for results, passes in (
        (["success", "skipped"], True),
        (["success", "failure"], False),
        (["cancelled"], False),
    ):
        needs = json.dumps({str(number): {"result": result} for number, result in enumerate(results)})
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]], env={"PATH": "/usr/bin:/bin", "RESULTS": needs}, check=False
        )
        assert (done.returncode == 0) is passes


def test_dependabot_is_told_of_each_lock_and_of_what_no_lock_has(service: Path) -> None:
    path = service / ".github" / "dependabot.yml"
    assert checking.schema("dependabot", path) == ""
    updates = {(each["package-ecosystem"], each["directory"]) for each in read(path)["updates"]}
    assert updates == {
        ("uv", "/requirements"),
        ("npm", "/browser"),
        ("github-actions", "/"),
        ("docker", "/.devcontainer"),
    }
    for _, directory in updates:
        assert (service / directory.strip("/")).is_dir()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_as_its_schema_has_it(service: Path, name: str) -> None:
    assert checking.schema("github-workflows", workflow(service, name)) == ""


def test_the_forms_of_issues_ask_for_what_helps_and_send_weaknesses_elsewhere(service: Path) -> None:
    folder = service / ".github" / "ISSUE_TEMPLATE"
    assert read(folder / "config.yml") == {"blank_issues_enabled": False}
    for name in ("bug", "change"):
        form = read(folder / f"{name}.yml")
        assert form.keys() == {"name", "description", "labels", "body"}
        for field in form["body"]:
            assert field["type"] in {"markdown", "input", "textarea"}
            assert "value" in field["attributes"] or {"id", "attributes"} <= field.keys()
    assert "SECURITY.md" in (folder / "bug.yml").read_text(encoding="utf-8")


# --- GitLab ------------------------------------------------------------------------------------------------


def test_gitlabs_file_is_as_its_schema_has_it(gitlab: Path, tmp_path: Path) -> None:
    path = gitlab / ".gitlab-ci.yml"
    transform = ("--data-transform", "gitlab-ci")
    assert checking.schema("gitlab-ci", path, *transform) == ""
    wrong = tmp_path / ".gitlab-ci.yml"
    wrong.write_text(path.read_text().replace("coverage_format: cobertura", "coverage_format: other"))
    assert "coverage_format" in checking.schema("gitlab-ci", wrong, *transform)


def test_the_shell_of_gitlabs_jobs_is_clean(gitlab: Path) -> None:
    scripts = list(checking.scripts(read(gitlab / ".gitlab-ci.yml")))
    assert len(scripts) > 8
    assert [said for script in scripts if (said := checking.shellcheck(f"#!/bin/bash -e\n{script}\n"))] == []


def test_both_hosts_run_the_same_targets(service: Path, gitlab: Path) -> None:
    pipeline = read(gitlab / ".gitlab-ci.yml")
    change = checking.gitlab_targets(pipeline, "make", "breaking", "policy-diff", "build-image")
    assert change == checking.github_targets(workflow(service, "ci"))
    assert checking.gitlab_targets(pipeline, "nightly") == checking.github_targets(workflow(service, "nightly"))
    released = checking.github_targets(workflow(service, "release"))
    assert checking.gitlab_targets(pipeline, "release") <= released
    assert released - checking.gitlab_targets(pipeline, "release") <= change
    assert {
        "lint",
        "test",
        "coverage",
        "breaking",
        "policy-diff",
        "manifests-check",
        "audit",
        "secrets",
        "image",
    } <= change


def test_every_target_that_is_named_is_one(service: Path, gitlab: Path) -> None:
    makefile = (service / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    keeping = (".pre-commit-config.yaml", "docs/ci.md", "sonar-project.properties", ".devcontainer/devcontainer.json")
    paths = [service / name for name in keeping]
    paths += [path for made in (service, gitlab) for path in made.glob(".git*/**/*") if path.suffix in {".md", ".yml"}]
    named = set()
    for path in paths:
        named |= checking.targets(path.read_text(encoding="utf-8"))
    named |= checking.gitlab_targets(read(gitlab / ".gitlab-ci.yml"), "make", "nightly")
    assert len(named) > 20
    assert named - {*phony.split()} == set()


# --- both --------------------------------------------------------------------------------------------------


def test_what_requests_ask_is_the_same_on_both_hosts(service: Path, gitlab: Path) -> None:
    asked = (service / ".github/pull_request_template.md").read_text(encoding="utf-8")
    assert asked == (gitlab / ".gitlab/merge_request_templates/Default.md").read_text(encoding="utf-8")


def test_hadolint_finds_nothing_in_the_development_container(service: Path, tmp_path: Path) -> None:
    hadolint = tools.environment("deploy") / "bin" / "hadolint"
    path = service / ".devcontainer" / "Dockerfile"
    assert subprocess.run([hadolint, path], check=False, capture_output=True, text=True).stdout == ""
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(path.read_text().replace("--no-install-recommends ", ""))
    assert "DL3015" in subprocess.run([hadolint, wrong], check=False, capture_output=True, text=True).stdout


def test_the_development_container_brings_what_make_asks_for(service: Path) -> None:
    container = json.loads((service / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    brings = (service / ".devcontainer" / container["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert {"git", "make", "kubernetes-client", "nodejs", "npm", "prometheus"} <= {*brings.split()}
    config = read(service / "config" / "dev.yaml")["listen"]
    assert container["forwardPorts"] == [int(config[key].rsplit(":")[-1]) for key in ("address", "admin_address")]


def test_sonarqube_looks_where_the_code_is_and_reads_what_make_writes(service: Path) -> None:
    lines = (service / "sonar-project.properties").read_text(encoding="utf-8").splitlines()
    said = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    for key in ("sonar.sources", "sonar.tests"):
        assert all((service / folder).is_dir() for folder in said[key].split(","))
    makefile = (service / "Makefile").read_text(encoding="utf-8")
    assert said["sonar.python.coverage.reportPaths"] in makefile
    assert said["sonar.python.xunit.reportPath"] in makefile


def test_the_floor_of_coverage_is_one(service: Path) -> None:
    coverage = tomllib.loads((service / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert coverage["report"]["fail_under"] >= 80
    assert coverage["run"]["source_pkgs"] == ["order_service"]
