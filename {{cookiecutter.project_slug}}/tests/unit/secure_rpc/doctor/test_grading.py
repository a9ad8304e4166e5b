"""The rung that is reached, exceptions and their ends, and what is to be done next."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.doctor import waivers
from secure_rpc.doctor.catalogue import CHECKS, IDS
from secure_rpc.doctor.checks import MAX_NAMED, Level, Status, none_of

from support.postures import Posture, of_status

TODAY = datetime.now(UTC).date()


def waive(posture: Posture, check: str, until: object = TODAY) -> None:
    waived = [{"id": check, "reason": "is being worked on", "until": until}]
    posture.write("doctor.yaml", {"version": 1, "waived": waived})


def test_each_check_is_one_of_its_kind_and_says_what_it_must() -> None:
    assert len(IDS) == len(CHECKS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.id)
        assert check.why.endswith(".")
        assert check.title[0].isupper()
        assert not check.title.endswith(".")
        assert check.proof
        assert Path(check.docs).is_file(), check.docs
        assert len(check.remedy) > len("run it"), check.id


@pytest.mark.parametrize(
    ("key", "value", "grade"),
    [
        ("audit.durability", "deferred", Level.INTERMEDIATE),
        ("load.adaptive", False, Level.BEGINNER),
        ("logging.format", "console", None),
    ],
)
def test_the_grade_is_the_highest_rung_below_which_nothing_fails(
    posture: Posture, key: str, value: object, grade: Level | None
) -> None:
    posture.set(key, value)
    report = posture.report()
    assert report.grade is grade
    for level in Level:
        assert report.holds(level) is (grade is not None and level.rank <= grade.rank)
    assert report.as_dict()["grade"] == (grade.value if grade else None)


def test_what_is_next_begins_at_the_lowest_rung(posture: Posture) -> None:
    for key, value in (("audit.durability", "deferred"), ("load.adaptive", False), ("logging.format", "console")):
        posture.set(key, value)
    posture.set("revocation.crl_files", [])
    assert [each.check.id for each in posture.report().next_steps] == ["log-format", "load-limit", "crls"]


@pytest.mark.parametrize("until", [TODAY, TODAY + timedelta(days=300)])
def test_a_waiver_makes_a_failure_a_visible_exception(posture: Posture, until: object) -> None:
    posture.set("load.adaptive", value=False)
    waive(posture, "load-limit", until)
    report = posture.report()
    assert of_status(report, Status.WAIVED) == {"load-limit"}
    assert of_status(report, Status.FAILED) == set()
    assert report.grade is Level.ADVANCED
    [shown] = [each for each in report.as_dict()["checks"] if each["waived"]]
    assert shown["waived"] == {"reason": "is being worked on", "until": str(until)}


def test_a_waiver_that_is_over_fails_and_excuses_nothing(posture: Posture) -> None:
    posture.set("load.adaptive", value=False)
    waive(posture, "load-limit", TODAY - timedelta(days=1))
    assert of_status(posture.report(), Status.FAILED) == {"load-limit", "waivers"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("waived: [{id: load-limt, reason: is being done, until: 2030-01-01}]", 'did you mean "load-limit"?'),
        ("waived: [{id: waivers, reason: is being done, until: 2030-01-01}]", 'there is no check "waivers" to waive'),
        ("waived: [{id: load-limit, reason: is being done}]", '"waived.0.until" is missing'),
        ("waived: [{id: load-limit, reason: later, until: 2030-01-01}]", "at least 10 characters"),
        ("waived: [{id: load-limit, until: 2030-01-01}]", '"waived.0.reason" is missing'),
        ("waives: []", 'did you mean "waived"?'),
    ],
)
def test_a_waiver_that_is_wrong_is_refused(posture: Posture, content: str, said: str) -> None:
    posture.write("doctor.yaml", f"version: 1\n{content}\n")
    with pytest.raises(ConfigurationError) as refused:
        waivers.load(Path("doctor.yaml"), IDS)
    assert said in str(refused.value)
    assert "doctor.yaml:2" in str(refused.value) or "doctor.yaml:" in str(refused.value)


def test_two_waivers_of_one_check_are_refused(posture: Posture) -> None:
    one = "{id: load-limit, reason: is being done, until: 2030-01-01}"
    posture.write("doctor.yaml", f"version: 1\nwaived: [{one}, {one}]\n")
    with pytest.raises(ConfigurationError, match="waived twice"):
        waivers.load(Path("doctor.yaml"), IDS)


def test_a_check_that_cannot_cope_is_unknown_and_hides_no_other(posture: Posture) -> None:
    pod = "securityContext:\n        runAsNonRoot"
    posture.swap("deploy/base/deployment.yaml", pod, "securityContext: [1]\n      other:\n        runAsNonRoot")
    report = posture.report()
    assert of_status(report, Status.UNKNOWN) == {"pod-security"}
    assert report.grade is None


def test_of_many_at_fault_some_are_named() -> None:
    found = none_of([f"n{number}" for number in range(MAX_NAMED + 2)], "good", "bad")
    assert found == (Status.FAILED, "bad: n0, n1, n2, n3, n4 and 2 more")
