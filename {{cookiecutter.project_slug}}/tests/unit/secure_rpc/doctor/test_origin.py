"""How far a service is behind its template is told where it can be known, and is no alarm where it cannot."""

from __future__ import annotations

import orjson
import pytest

from secure_rpc.doctor.checks import Status
from secure_rpc.template import Record, Releases, UnknownError, Version, released

from support.postures import Posture

ABOUT = "template-current"


def told(posture: Posture) -> tuple[Status, str]:
    (found,) = [result for result in posture.report().results if result.check.id == ABOUT]
    return found.status, found.said


@pytest.mark.parametrize(
    ("releases", "status", "said"),
    [
        ((), Status.PASSED, "1.2.3, and there is no newer release"),
        (("1.2.3", "1.2.2", "0.1.0"), Status.PASSED, "1.2.3, and there is no newer release"),
        (("1.2.3", "1.2.4", "1.2.10"), Status.PASSED, "1.2.3, 2 releases behind v1.2.10"),
        (("1.3.0",), Status.PASSED, "1.2.3, 1 release behind v1.3.0"),
        (("2.0.0-rc1", "9.9"), Status.PASSED, "1.2.3, and there is no newer release"),
        (("1.3.0", "2.0.0"), Status.FAILED, "1.2.3, 2 releases behind v2.0.0"),
    ],
)
def test_how_far_it_is_behind(posture: Posture, releases: tuple[str, ...], status: Status, said: str) -> None:
    posture.template(*releases)
    assert told(posture) == (status, said)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"commit": "c0ffee"}, ".cruft.json names no version"),
        ("no JSON", ".cruft.json names no commit"),
        ({"commit": "--output=marked"}, ".cruft.json names no commit"),
        ({"commit": "c0ffee", "template": "/nowhere/at/all"}, "could not be looked up: fatal: "),
        ({"commit": "c0ffee", "template": "ext::touch marked"}, "could not be looked up: fatal: "),
        ({"commit": "c0ffee", "template": "--upload-pack=touch marked"}, "could not be looked up: fatal: "),
        ({"commit": "c0ffee", "template": ""}, "does not say where the template is"),
    ],
)
def test_what_cannot_be_known_is_no_alarm(posture: Posture, record: object, said: str) -> None:
    if isinstance(record, dict) and "template" in record:
        record["context"] = {"cookiecutter": {"_template_version": "1.2.3"}}
    posture.write(".cruft.json", orjson.dumps(record).decode())
    status, seen = told(posture)
    assert status is Status.NOT_APPLICABLE
    assert said in seen
    assert not (posture.folder / "marked").exists()


def test_what_names_no_version_is_no_release() -> None:
    names = ("v1.2.3", "1.2.2", "v1.2.3-rc1", "v1.2", "latest", "v10.0.0", "v9.0.0", "v1.2.3.4", "v1.2.9999999")
    assert [version.tag for version in released(names)] == ["v1.2.2", "v1.2.3", "v9.0.0", "v10.0.0"]


def test_two_minors_get_fixes() -> None:
    known = Releases(released(("1.0.0", "1.1.0", "1.1.5", "2.0.0")))
    assert [known.supports(Version(*each)) for each in ((1, 0, 0), (1, 1, 0), (2, 0, 0), (3, 0, 0))] == [
        False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[]", '"x"', "{}", '{"commit": 1, "context": []}', "[" * 100_000])
def test_a_record_of_another_shape_is_none(posture: Posture, text: str) -> None:
    posture.write(".cruft.json", text)
    with pytest.raises(UnknownError, match="names no commit"):
        Record.read(posture.folder)
