"""`policy check` and `policy test`: what was seen and what it may mean; what was tried and what came of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from secure_rpc.call import Method
from secure_rpc.cli.ground import Ground
from secure_rpc.cli.telling import count, plain, rows, say
from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy import coverage
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.entries import Entry, entries_of
from secure_rpc.policy.keeper import load_rollout
from secure_rpc.policy.questions import display_names
from secure_rpc.policy.reach import reaches, time_in_words, wanted_by

SOON_DAYS = 30  # bindings that end within them are told of
DAY_SECONDS = 86_400


def check(ground: Ground, file: Path | None, now_seconds: float) -> None:
    """Print what a policy has, and what is odd about it.

    Args:
        ground: what there is around it.
        file: the policy; None for that of the settings.
        now_seconds: Unix time.

    Raises:
        ConfigurationError: file, line and remedy of each thing that is wrong.
    """
    policy = ground.policy(file)
    permissions = {permission for entry in entries_of(policy) for permission in entry.permissions}
    sizes = (
        count(len(policy.policy.roles), "role"),
        count(len(policy.policy.bindings), "binding"),
        f"{count(len(permissions), 'permission')} given",
        f"for {count(len(ground.methods), 'method')}",
    )
    said = [f"{policy.source.path}: policy {policy.version}, {', '.join(sizes)}"]
    rollout_file = ground.settings.authorization.rollout_file
    if rollout_file is not None and rollout_file.exists():
        rollout = load_rollout(rollout_file)
        candidate = ground.policy(rollout_file.parent / rollout.candidate)
        said.append(f"{candidate.source.path}: candidate {candidate.version}, for {rollout.percent:g} % of callers")
    if ground.cases_file.exists():
        cases = ground.cases()
        trials = cases.trials([*ground.methods, *ground.others], ground.known)
        said.append(f"{ground.cases_file}: {count(len(cases.table.cases), 'case')}, {count(len(trials), 'call')}")
    say(*said)
    warnings = list(_warnings(policy, ground, now_seconds))
    for warning in warnings:
        say(f"warning: {warning}", style="yellow")
    say(count(len(warnings), "warning") if warnings else "no warnings")


def _warnings(policy: PolicyDocument, ground: Ground, now_seconds: float) -> Iterator[str]:
    roles, place = policy.policy.roles, policy.source.place
    entries = list(entries_of(policy))
    had = {entry.role for entry in entries}
    while more := {name for role in had for name in roles[role].includes} - had:
        had |= more
    for role in roles:
        if role not in had:
            yield f"{place(('roles', role))}: nobody has the role {role}"
    given = {permission for entry in entries for permission in entry.permissions}
    asked = {
        name for method in ground.methods for name in method.contract.permissions + method.contract.any_permissions
    }
    for permission in sorted(asked - given):
        yield f"nobody is given the permission {permission}"
    ends = {entry.rule: (entry.place, entry.expires_at_seconds) for entry in entries}
    for rule, (where, end) in ends.items():
        if end <= now_seconds:
            yield f"{where}: {rule} has ended on {time_in_words(end)} and gives nothing any more"
        elif end <= now_seconds + SOON_DAYS * DAY_SECONDS:
            days = int((end - now_seconds) / DAY_SECONDS)
            yield f"{where}: {rule} ends on {time_in_words(end)}, in {count(days, 'day')}"
    lasting = [entry for entry in entries if entry.expires_at_seconds > now_seconds]
    names = display_names(ground.methods)
    for method in ground.methods:
        if method.contract.is_guarded and not _is_within_reach(method, lasting):
            yield f"nobody can call {names[method.path]}"


def _is_within_reach(method: Method, entries: list[Entry]) -> bool:
    return bool(reaches(entries, wanted_by(method.contract), of_tenants=bool(method.contract.tenant_field)))


def tell(report: coverage.Report, policy: Path) -> None:
    """Print what came of a table of cases."""
    if report.failures:
        rows(
            ("case", "who calls what", "expected", "the policy says"),
            (
                (
                    outcome.trial.place,
                    str(outcome.trial),
                    ("allow" if outcome.trial.allow else "deny")
                    + (f" by {outcome.trial.rule}" if outcome.trial.rule else ""),
                    f"{'allow by' if outcome.answer.allowed else 'deny:'} {outcome.answer.rule}",
                )
                for outcome in report.failures
            ),
        )
    for missing in report.missing:
        say(missing.what, style="red")
        say(f"  {missing.add}")
    good = len(report.outcomes) - len(report.failures)
    covered = "" if report.missing else ", each of them covered"
    say(
        f"{policy}: {good} of {count(len(report.outcomes), 'call')} as expected; "
        f"{count(report.methods, 'method')}, {count(report.bindings, 'binding')}{covered}",
        style="green" if report.good else "red",
    )


def write_junit(report: coverage.Report, path: Path) -> None:
    """Write what came of a table as JUnit XML, which CI systems show.

    Raises:
        ConfigurationError: it cannot be written.
    """
    failures = len(report.failures) + len(report.missing)
    total = len(report.outcomes) + len(report.missing)
    suite = ET.Element("testsuite", name="policy", tests=str(total), failures=str(failures))
    for outcome in report.outcomes:
        name = plain(f"{outcome.trial} ({outcome.trial.place})")
        case = ET.SubElement(suite, "testcase", classname="policy.cases", name=name)
        if not outcome.passed:
            wanted = "allow" if outcome.trial.allow else "deny"
            ET.SubElement(case, "failure", message=plain(f"expected {wanted}; {outcome.answer.rule}"))
    for missing in report.missing:
        case = ET.SubElement(suite, "testcase", classname="policy.coverage", name=plain(missing.what))
        ET.SubElement(case, "failure", message=plain(missing.add))
    try:
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror}); check the path") from None
