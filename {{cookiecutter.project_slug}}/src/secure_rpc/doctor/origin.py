"""Checks of the template that the service is of: whether it is known, and how far behind it the service is."""

from __future__ import annotations

from pathlib import Path

from secure_rpc import template
from secure_rpc.doctor.checks import Check, Finding, Level, not_applicable, unknown, verdict
from secure_rpc.doctor.facts import Facts
from secure_rpc.template import Record, Releases, UnknownError, Version

UPDATING = "docs/updating.md"
ASKING_SECONDS = 5.0


def releases_of(root: Path) -> Releases:
    """Ask the repository of the template, where it is known, for its releases.

    Args:
        root: of the service's repository.
    """
    try:
        record = Record.read(root)
    except UnknownError as error:
        return Releases(problem=str(error))
    if not record.template:
        return Releases(problem=f"{template.FILE} does not say where the template is")
    return template.ask(record.template, ASKING_SECONDS)


def _recorded(facts: Facts) -> Finding:
    if not (facts.root / "pyproject.toml").exists():
        return not_applicable("the repository is not on this machine")
    if not (facts.root / template.FILE).exists():
        return verdict(good=False, said=f"there is no {template.FILE}")
    try:
        record = Record.read(facts.root)
    except UnknownError as error:
        return unknown(str(error))
    if not record.commit:
        return verdict(good=False, said="made from files without a history, which no update can start from")
    rest = ", with changes that were not committed" if record.uncommitted else ""
    return verdict(
        good=True, said=f"{record.version or 'a version'} of the template, commit {record.commit[:12]}{rest}"
    )


def _current(facts: Facts) -> Finding:
    if not (facts.root / "pyproject.toml").exists():
        return not_applicable("the repository is not on this machine")
    try:
        version = Version.parse(Record.read(facts.root).version)
    except UnknownError as error:
        return not_applicable(str(error))
    if version is None:
        return not_applicable(f"{template.FILE} names no version")
    if facts.releases is None or facts.releases.problem:
        why = "it was not asked" if facts.releases is None else facts.releases.problem
        return not_applicable(f"{version}; which is the newest could not be looked up: {why}")
    newer = facts.releases.after(version)
    if not newer:
        return verdict(good=True, said=f"{version}, and there is no newer release")
    behind = f"{version}, {len(newer)} {'release' if len(newer) == 1 else 'releases'} behind {newer[-1].tag}"
    return verdict(facts.releases.supports(version), behind)


CHECKS = (
    Check(
        "template-version",
        Level.INTERMEDIATE,
        "It is written down which template this is of",
        "Who does not know it cannot take up the template's next fix.",
        f"{template.FILE} names the template's commit",
        f"run cruft link in the repository, and commit {template.FILE}",
        UPDATING,
        _recorded,
    ),
    Check(
        "template-current",
        Level.INTERMEDIATE,
        "The template's release is one that gets fixes",
        "What is known to be wrong with an older one is known to everybody.",
        f"the version in {template.FILE} against the template's tags: of the newest minor, or the one before it",
        "make update TAG=... takes up a newer one; make update lists them",
        UPDATING,
        _current,
    ),
)
