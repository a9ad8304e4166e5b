"""What is done to files, workers and anchors shows, with the place; so does whatever chance does to any byte."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_rpc.audit.anchors import read_anchors
from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import Secret
from secure_rpc.audit.files import Anchor, anchor_of
from secure_rpc.audit.segments import closed_segments
from secure_rpc.audit.verify import Finding, chains_missing, verify
from secure_rpc.configuration import ConfigurationError
from secure_rpc.observing import CallRecord

MakeRecord = Callable[..., CallRecord]
KEY = Secret(b"k" * 32)


def anchor_line(anchor: Anchor) -> str:
    content = {"event": "audit anchor", "chain": anchor.chain, "seq": anchor.sequence, "head": anchor.head}
    return "2026-01-01T00:00:00Z stdout F " + orjson.dumps(content).decode() + "\n"


async def write(path: Path, record: MakeRecord, collected: Path, count: int = 40) -> Path:
    """Write a log of several files, and what a collector has of the service's own log."""
    anchors: list[Anchor] = []
    log = ChainLog(path, pace=Pace(checkpoint_records=10, rotate_bytes=6000), signer=KEY, on_anchor=anchors.append)
    for number in range(count):
        log.add(record(number))
        await log.durable()
    await log.close()
    with collected.open("a", encoding="utf-8") as file:
        file.write('{"event":"serving"}\nnot JSON, but audit anchor is in it\n')
        file.writelines(map(anchor_line, anchors))
    return path


@pytest.fixture
async def path(tmp_path: Path, record: MakeRecord) -> Path:
    return await write(tmp_path / "audit.log", record, tmp_path / "collected.log")


def checked(path: Path) -> Finding:
    return verify(path, signatures=Signatures([KEY]), anchors=read_anchors([path.with_name("collected.log")]))


def test_a_log_of_several_files_is_whole_and_fits_its_anchors(path: Path) -> None:
    finding = checked(path)
    assert (finding.problem, finding.records) == ("", 40)
    assert finding.anchored == len(closed_segments(path)) + 2
    assert finding.signed == finding.lines


def edit(file: Path, before: bytes, after: bytes) -> int:
    """Change the first place, and return at which byte the line after it begins."""
    content = file.read_bytes()
    at = content.index(before)
    file.write_bytes(content.replace(before, after, 1))
    return content.index(b"\n", at) + 1 + len(after) - len(before)


def test_an_edit_in_a_closed_file_is_told_with_file_line_and_byte(path: Path) -> None:
    second = closed_segments(path)[1].path
    byte = edit(second, b'"subject":"alice"', b'"subject":"mallory"')
    line = second.read_bytes()[:byte].count(b"\n") + 1
    finding = checked(path)
    assert finding.place == f"{second} (byte {byte})"
    assert finding.problem.startswith(f"line {line}: does not follow from the line before")


def test_a_file_taken_out_of_the_middle_is_missed(path: Path) -> None:
    closed_segments(path)[1].path.unlink()
    finding = checked(path)
    assert finding.problem == "the file before it is missing: number 2"
    assert finding.file == closed_segments(path)[1].path


def test_a_file_taken_out_and_the_others_renamed_is_missed(path: Path) -> None:
    second, third = (segment.path for segment in closed_segments(path)[1:3])
    third.replace(second)
    assert checked(path).problem.startswith("line 1: has the number ")


def test_the_last_closed_file_taken_out_is_missed(path: Path) -> None:
    closed_segments(path)[-1].path.unlink()
    finding = checked(path)
    assert (finding.file, finding.problem[:7]) == (path, "line 1:")


def test_the_file_that_was_written_taken_away_is_missed(path: Path) -> None:
    path.unlink()
    assert checked(path).problem.startswith("cannot be read")
    path.touch()
    assert "were written: the end was cut off" in checked(path).problem


def test_two_files_swapped_are_told(path: Path) -> None:
    first, second = (segment.path for segment in closed_segments(path)[:2])
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert checked(path).problem == "line 1: does not begin the file that it is"


def test_the_end_cut_off_with_the_anchor_set_back_is_told_by_the_anchors_elsewhere(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    last = orjson.loads(lines[-2])
    before = Anchor(last["chain"], last["seq"] - 1, last["prev"])
    anchor_of(path).write_bytes(before.encoded())
    assert verify(path, signatures=Signatures([KEY])).whole  # nobody here could tell
    assert "but an anchor from elsewhere names" in checked(path).problem


async def test_a_log_made_anew_by_who_has_the_key_is_told_by_the_anchors_elsewhere(
    path: Path, tmp_path: Path, record: MakeRecord
) -> None:
    chain = checked(path).chain
    taken_away(path)
    renamed = ChainLog(path, signer=KEY)
    renamed.add(record(1))
    await renamed.close()
    finding = verify(path, signatures=Signatures([KEY]), anchors=read_anchors([tmp_path / "collected.log"]))
    assert finding.whole  # a chain of its own
    assert chains_missing([finding], read_anchors([tmp_path / "collected.log"])) == [chain]
    taken_away(path)
    path.with_name("audit.log.anchor").write_bytes(Anchor(chain, 1, "0" * 64).encoded())
    same = ChainLog(path, signer=KEY)  # the first line alone may have been lost by a crash
    same._chain.id = chain
    await same.close()
    assert checked(path).problem


def taken_away(path: Path) -> None:
    for file in [*(segment.path for segment in closed_segments(path)), path, anchor_of(path)]:
        file.unlink()


async def test_a_worker_whose_log_and_anchor_are_gone_is_missed_by_who_kept_the_names(
    path: Path, tmp_path: Path, record: MakeRecord
) -> None:
    other = await write(tmp_path / "audit.1.log", record, tmp_path / "collected.log")
    anchors = read_anchors([tmp_path / "collected.log"])
    both = [checked(path), checked(other)]
    assert chains_missing(both, anchors) == []
    assert chains_missing(both[:1], anchors) == [both[1].chain]
    assert chains_missing(both[:1], [both[0].chain, "kept-elsewhere"]) == ["kept-elsewhere"]


def test_anchors_that_are_gone_or_contradict_each_other_are_no_anchors(path: Path) -> None:
    collected = path.with_name("collected.log")
    lines = collected.read_text(encoding="utf-8").splitlines(keepends=True)
    collected.write_text("".join(lines[:2]), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="holds no anchor"):
        read_anchors([collected])
    other = Anchor(*(orjson.loads(lines[-1][lines[-1].index("{") :])[key] for key in ("chain", "seq", "head")))
    collected.write_text(lines[-1] + anchor_line(other._replace(head="0" * 64)), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r":2: contradicts an anchor before it"):
        read_anchors([collected])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, record: MakeRecord) -> Path:
    folder = tmp_path_factory.mktemp("log")
    return asyncio.run(write(folder / "audit.log", record, folder / "collected.log"))


def copied(written: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written.parent, folder)
    return folder / written.name


TAMPERING = st.tuples(
    st.sampled_from(["set", "insert", "delete", "cut", "swap", "double"]), st.floats(0, 1), st.floats(0, 1)
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.floats(0, 1, exclude_max=True), tampering=TAMPERING, value=st.integers(0, 255))
def test_no_tampering_at_random_goes_unseen(
    written: Path, tmp_path: Path, which: float, tampering: tuple[str, float, float], value: int
) -> None:
    path = copied(written, tmp_path / "log")
    files = [*(segment.path for segment in closed_segments(path)), path]
    file = files[int(which * len(files))]
    before = file.read_bytes()
    file.write_bytes(tampered(before, *tampering, value))
    finding = checked(path)
    assert finding.whole is (file.read_bytes() == before)
    if not finding.whole:
        assert finding.file in files


def tampered(content: bytes, kind: str, first: float, second: float, value: int) -> bytes:
    lines = content.splitlines(keepends=True)
    at = min(int(first * len(content)), len(content) - 1)
    one, other = (min(int(each * len(lines)), len(lines) - 1) for each in (first, second))
    if kind == "set":
        return content[:at] + bytes([value]) + content[at + 1 :]
    if kind == "insert":
        return content[:at] + bytes([value]) + content[at:]
    if kind == "delete":
        return b"".join(lines[:one] + lines[one + 1 :])
    if kind == "cut":
        return content[:at]
    if kind == "swap":
        lines[one], lines[other] = lines[other], lines[one]
        return b"".join(lines)
    return b"".join([*lines[: one + 1], *lines[one:]])
