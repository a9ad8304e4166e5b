"""Every tampering with a log shows, with the line at which it does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.audit.files import anchor_of
from secure_rpc.audit.verify import verify
from secure_rpc.observing import CallRecord

LogOf = Callable[[int], Path]
MakeRecord = Callable[..., CallRecord]
Lines = list[bytes]


def read(path: Path) -> Lines:
    return path.read_bytes().splitlines(keepends=True)


def edited(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b'"subject":"alice"', b'"subject":"bob"'), *lines[4:]]


def edited_with_its_hash_mended(lines: Lines) -> Lines:
    changed = edited(lines)
    head = hashlib.sha256(changed[3].rstrip()).hexdigest().encode()
    return [*changed[:4], re.sub(rb'"prev":"[0-9a-f]{64}"', b'"prev":"' + head + b'"', changed[4]), *changed[5:]]


def rewritten(lines: Lines, start: int = 0) -> Lines:
    """Mend each hash from a line on: a chain that holds, made by somebody else."""
    made = lines[:start]
    for line in lines[start:]:
        content = orjson.loads(line)
        content["prev"] = hashlib.sha256(made[-1].rstrip()).hexdigest() if made else "0" * 64
        made.append(orjson.dumps(content) + b"\n")
    return made


TAMPERINGS: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "an edit": (edited, "line 5: does not follow from the line before"),
    "an edit whose hash was mended in the next line": (
        edited_with_its_hash_mended,
        "line 6: does not follow from the line before",
    ),
    "an edit after which all was written anew": (lambda lines: rewritten(edited(lines), 4), "line 7 is not the one"),
    "an edit of the last line": (
        lambda lines: [*lines[:-1], lines[-1].replace(b"alice", b"bob")],
        "line 7 is not the one that was written: the log was made anew",
    ),
    "a space": (lambda lines: [*lines[:3], lines[3].replace(b":", b": ", 1), *lines[4:]], "line 5: does not follow"),
    "a key doubled in front": (
        lambda lines: [*lines[:3], b'{"subject":"bob",' + lines[3][1:], *lines[4:]],
        "line 5: does not follow",
    ),
    "a key doubled in front of the last line": (
        lambda lines: [*lines[:-1], b'{"subject":"bob",' + lines[-1][1:]],
        "line 7 is not the one",
    ),
    "a line taken out": (lambda lines: lines[:3] + lines[4:], "line 4: has the number 5: lines are missing"),
    "the first line taken out": (lambda lines: lines[1:], "line 1: has the number 2: lines are missing"),
    "two lines swapped": (
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        "line 4: has the number 5: lines are missing, doubled or swapped",
    ),
    "a line doubled": (lambda lines: [*lines[:4], *lines[3:]], "line 5: has the number 4: lines are missing, doubled"),
    "a line of another hand": (lambda lines: [*lines[:3], b"{}\n", *lines[3:]], "line 4: is no audit record"),
    "a line that is no JSON": (lambda lines: [*lines[:3], b"\xff\n", *lines[3:]], "line 4: is no audit record"),
    "a call without its outcome": (
        lambda lines: [*lines[:-1], lines[-1].replace(b'"code":', b'"cod_":')],
        "line 7: is no audit record",
    ),
    "a list for a line": (lambda lines: [*lines[:3], b"[1]\n", *lines[3:]], "line 4: is no audit record"),
    "an empty line": (lambda lines: [*lines[:3], b"\n", *lines[3:]], "line 4: is no audit record"),
    "another chain from here on": (
        lambda lines: rewritten([*lines[:5], lines[5].replace(b'"chain":"', b'"chain":"f')], 5),
        "line 6: belongs to another chain",
    ),
    "the tail cut off": (lambda lines: lines[:-1], "ends at line 6, but 7 were written: the end was cut off"),
    "all cut off": (lambda _lines: [], "ends at line 0, but 7 were written: the end was cut off"),
    "the last line torn": (lambda lines: [*lines[:-1], lines[-1][:-9]], "line 7: is no audit record"),
    "the last line break taken out": (
        lambda lines: [*lines[:-1], lines[-1].rstrip()],
        "line 7: is torn: the writer was stopped amid it",
    ),
    "all made anew": (
        lambda lines: rewritten([line.replace(b'"chain":"', b'"chain":"f') for line in edited(lines)]),
        "line 7 is not the one that was written: the log was made anew",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_it_shows(log_of: LogOf, name: str) -> None:
    tamper, told = TAMPERINGS[name]
    path = log_of(6)
    lines = read(path)
    assert len(lines) == 7
    tampered = tamper(list(lines))
    assert tampered != lines
    path.write_bytes(b"".join(tampered))
    finding = verify(path)
    assert not finding.whole
    assert finding.problem.startswith(told)


def test_a_whole_log_is_counted(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "audit.log")
    for number, code in enumerate(["OK", "OK", "NOT_FOUND"]):
        log.add(record(number, code=code))
    finding = verify(log.path)
    assert (finding.whole, finding.problem) == (True, "")
    assert (finding.records, finding.lines, finding.codes) == (3, 4, {"OK": 2, "NOT_FOUND": 1})


def test_a_log_without_its_anchor_is_not_whole(log_of: LogOf) -> None:
    path = log_of(2)
    anchor_of(path).unlink()
    assert verify(path).problem == "the anchor is missing: whether the end was cut off cannot be told"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"chain":"a","seq":"x","head":"b"}', b"\xff"])
def test_an_anchor_that_cannot_be_read_is_as_good_as_none(log_of: LogOf, content: bytes) -> None:
    path = log_of(2)
    anchor_of(path).write_bytes(content)
    assert verify(path).problem.startswith("the anchor is missing")


def test_the_anchor_of_another_log_does_not_do(log_of: LogOf, tmp_path: Path, record: MakeRecord) -> None:
    path = log_of(2)
    other = ChainLog(tmp_path / "other.log")
    for number in range(2):
        other.add(record(number))
    anchor_of(path).write_bytes(anchor_of(other.path).read_bytes())
    assert verify(path).problem == "line 3 is not the one that was written: the log was made anew"


def test_lines_past_the_anchor_are_what_a_crash_leaves(log_of: LogOf, tmp_path: Path, record: MakeRecord) -> None:
    path = log_of(2)
    before = anchor_of(path).read_bytes()
    ChainLog(path).add(record(3))
    anchor_of(path).write_bytes(before)
    finding = verify(path)
    assert (finding.whole, finding.lines) == (True, 5)
    assert tmp_path in path.parents


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert verify(tmp_path / "none.log").problem.startswith("cannot be read: ")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, record: MakeRecord) -> Path:
    log = ChainLog(tmp_path_factory.mktemp("log") / "audit.log")
    for number in range(4):
        log.add(record(number))
    return log.path


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_no_byte_can_be_changed_unseen(written: Path, tmp_path: Path, place: float, value: int) -> None:
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] = value
    path = tmp_path / "audit.log"
    path.write_bytes(content)
    anchor_of(path).write_bytes(anchor_of(written).read_bytes())
    assert verify(path).whole is (bytes(content) == written.read_bytes())
