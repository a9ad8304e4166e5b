"""A log goes on in another file, and no record is lost between them, whatever happens in between."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.archive import Archive, Keeping
from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import Secret
from secure_rpc.audit.segments import closed_segments
from secure_rpc.audit.trail import lines_of
from secure_rpc.audit.verify import verify
from secure_rpc.configuration import ConfigurationError
from secure_rpc.observing import CallRecord

from support.clocks import Clock, until

MakeRecord = Callable[..., CallRecord]
SMALL = Pace(rotate_bytes=4096)
KEY = Secret(b"k" * 32)
WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from secure_rpc.audit.archive import Keeping
from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.observing import CallRecord

async def write():
    log = ChainLog(Path(sys.argv[1]), pace=Pace(rotate_bytes=20_000), keeping=Keeping(compress=True))
    for number in itertools.count():
        for _ in range(50):
            log.add(CallRecord(0.0, str(number), "/a/B", "unary", None, "", "", "", "", "OK", "", 0.0))
        await log.durable()
        log._tidied_at = float("-inf")
        log.tick()
        print(50 * (number + 1), flush=True)

asyncio.run(write())
"""


async def filled(log: ChainLog, record: MakeRecord, count: int = 30, begin: int = 0) -> None:
    for number in range(begin, begin + count):
        log.add(record(number))
        await log.durable()


def calls_in(path: Path, identity: X25519PrivateKey | None = None) -> list[str]:
    lines = (line.content for line in lines_of(path, identity))
    return [line["call_id"] for line in lines if line["event"] == "call"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def tidied(log: ChainLog) -> None:
    log._tidied_at = float("-inf")
    log.tick()
    await until(lambda: log._tidying is None)


# --- other files ---------------------------------------------------------------------------------------------------


async def test_a_file_that_is_full_is_closed_and_the_next_continues_the_chain(
    tmp_path: Path, record: MakeRecord
) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL)
    await filled(log, record)
    await log.close()
    closed = closed_segments(log.path)
    assert [segment.path.name for segment in closed] == [f"audit.log-00000{number}" for number in (1, 2, 3)]
    finding = verify(log.path)
    assert (finding.problem, finding.records) == ("", 30)
    assert calls_in(log.path) == [f"call-{number}" for number in range(30)]
    first = orjson.loads(closed[1].path.read_bytes().splitlines()[0])
    assert (first["event"], first["file"]) == ("segment_started", 2)
    assert modes(tmp_path) == {0o600}


async def test_a_file_that_is_old_is_closed_also_when_nobody_calls_but_not_for_nothing(
    tmp_path: Path, record: MakeRecord
) -> None:
    clock = Clock()
    log = ChainLog(tmp_path / "audit.log", pace=Pace(rotate_seconds=3600), clock=clock)
    log.add(record())
    await log.durable()
    for passed, files in ((3599, 0), (2, 1), (3601, 1), (3601, 1)):
        clock.pass_(passed)
        log.tick()
        await until(lambda: log._writing is None)
        assert len(closed_segments(log.path)) == files
    await log.close()
    assert verify(log.path).whole


async def test_records_that_come_while_files_change_are_not_lost(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL)
    for number in range(2000):
        log.add(record(number))
        if not number % 7:
            await asyncio.sleep(0)
        if not number % 50:
            await log.durable()
    await log.close()
    assert len(closed_segments(log.path)) > 20
    assert calls_in(log.path) == [f"call-{number}" for number in range(2000)]
    assert verify(log.path).whole


async def test_a_log_is_resumed_in_the_file_it_was_in(tmp_path: Path, record: MakeRecord) -> None:
    for run in range(4):
        log = ChainLog(tmp_path / "audit.log", pace=SMALL)
        await filled(log, record, 9, 9 * run)
        await log.close()
    finding = verify(log.path)
    assert (finding.problem, finding.records) == ("", 36)


async def test_where_the_next_file_cannot_be_begun_records_are_kept_and_nothing_is_doubled(
    tmp_path: Path, record: MakeRecord
) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL)
    in_its_way = tmp_path / "audit.log.next"
    in_its_way.mkdir()
    (in_its_way / "something").touch()
    with pytest.raises(OSError, match=r"audit\.log\.next"):
        await filled(log, record, 30)
    assert log.failing
    (in_its_way / "something").unlink()
    in_its_way.rmdir()
    await log.durable()
    assert not log.failing
    await filled(log, record, 5, 100)
    await log.close()
    calls = calls_in(log.path)
    assert calls == [*(f"call-{number}" for number in range(len(calls) - 5)), *(f"call-{100 + n}" for n in range(5))]
    assert verify(log.path).whole


def test_kill_9_under_load_while_files_change_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        output = writer.stdout
        assert output is not None
        told = [output.readline() for _ in range(60)]
        writer.kill()
        told += output.read().splitlines()
    assert len(closed_segments(path)) > 3
    ChainLog(path)
    finding = verify(path)
    assert finding.whole, finding.problem
    assert finding.records >= int(told[-1])


@pytest.mark.parametrize("ending", ["", ".gz", ".gz.sealed"])
async def test_a_crash_between_two_files_is_gone_on_from(tmp_path: Path, record: MakeRecord, ending: str) -> None:
    """The old one has its new name, and the new one has no line yet."""
    key = X25519PrivateKey.generate()
    keeping = Keeping(compress=True, recipient=key.public_key() if "sealed" in ending else None)
    log = ChainLog(tmp_path / "audit.log", keeping=keeping if ending else Keeping())
    await filled(log, record, 5)
    log._end_file()
    writing = log._taken()
    assert writing is not None
    log._writer.write(writing)
    log._writer.close()
    if ending:
        log._archive.tidy().result()
    assert names(tmp_path) == ["audit.log", f"audit.log-000001{ending}", "audit.log.anchor"]
    assert log.path.read_bytes() == b""
    for _ in range(2):
        again = ChainLog(log.path)
        again._writer.close()
    finding = verify(log.path, identity=key)
    assert (finding.problem, finding.records) == ("", 5)
    events = [line.content["event"] for line in lines_of(log.path, key)]
    assert events[-4:] == ["segment_closed", "segment_started", "chain_resumed", "chain_resumed"]


# --- compressed, encrypted, retired --------------------------------------------------------------------------------


async def test_closed_files_are_compressed_off_the_loop_and_read_as_before(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL, keeping=Keeping(compress=True))
    await filled(log, record)
    await tidied(log)
    await log.close()
    assert names(tmp_path)[1:4] == [f"audit.log-00000{number}.gz" for number in (1, 2, 3)]
    assert (verify(log.path).problem, verify(log.path).records) == ("", 30)
    plain = gzip.decompress((tmp_path / "audit.log-000002.gz").read_bytes())
    assert orjson.loads(plain.splitlines()[0])["file"] == 2


async def test_encrypted_files_are_read_by_the_recipient_alone(tmp_path: Path, record: MakeRecord) -> None:
    key = X25519PrivateKey.generate()
    log = ChainLog(tmp_path / "audit.log", pace=SMALL, keeping=Keeping(compress=True, recipient=key.public_key()))
    await filled(log, record)
    await tidied(log)
    await log.close()
    sealed = tmp_path / "audit.log-000002.gz.sealed"
    assert names(tmp_path)[2] == sealed.name
    assert b"alice" not in sealed.read_bytes()
    whole = verify(log.path, identity=key)
    assert (whole.problem, whole.records, whole.unread) == ("", 30, 0)
    assert len(calls_in(log.path, key)) == 30
    without = verify(log.path)
    assert (without.problem, without.lines) == ("", whole.lines)
    assert 0 < without.unread < without.lines
    with pytest.raises(ConfigurationError, match="is sealed; only who has the key can read it"):
        calls_in(log.path)
    other = verify(log.path, identity=X25519PrivateKey.generate())
    assert other.problem == "cannot be read: is sealed for another key"
    content = bytearray(sealed.read_bytes())
    content[-20] ^= 1
    sealed.write_bytes(content)
    finding = verify(log.path, identity=key)
    assert finding.problem == "cannot be read: was changed or cut off, in its piece 1"
    assert finding.file == sealed
    sealed.unlink()
    assert verify(log.path).problem == "the file before it is missing: number 2"


async def test_retired_files_are_named_in_the_chain_before_they_go(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL, keeping=Keeping(segments=2), signer=KEY)
    await filled(log, record, 60)
    assert len(closed_segments(log.path)) > 4
    for _ in range(3):  # the notes themselves may fill a file
        await tidied(log)
    assert len(closed_segments(log.path)) == 2
    await log.close()
    finding = verify(log.path, signatures=Signatures([KEY]))
    assert finding.problem == ""
    assert finding.begins_at > 20
    first = closed_segments(log.path)[0]
    first.path.unlink()
    finding = verify(log.path)
    assert "and nothing in it says that the files before it were retired: they were taken away" in finding.problem


async def test_files_are_retired_by_age(tmp_path: Path, record: MakeRecord) -> None:
    clock = Clock()
    log = ChainLog(tmp_path / "audit.log", pace=SMALL, keeping=Keeping(seconds=3600, compress=True), clock=clock)
    await filled(log, record, 30)
    await tidied(log)
    assert len(closed_segments(log.path)) == 3
    for segment in closed_segments(log.path)[:2]:
        os.utime(segment.path, (clock() - 4000, clock() - 4000))
    await tidied(log)
    await until(lambda: len(closed_segments(log.path)) == 1)
    await log.close()
    assert verify(log.path).whole


async def test_a_note_that_no_signature_covers_excuses_nothing(tmp_path: Path, record: MakeRecord) -> None:
    """Who takes files away could write the note himself, but not sign it."""
    log = ChainLog(tmp_path / "audit.log", pace=SMALL, signer=KEY)
    await filled(log, record, 30)
    await log.close()
    forged = ChainLog(log.path)  # without the key
    second = orjson.loads(closed_segments(log.path)[1].path.read_bytes().splitlines()[0])
    forged.note("segment_retired", file=1, last=second["seq"] - 1, head=second["prev"])
    await forged.close()
    closed_segments(log.path)[0].path.unlink()
    assert verify(log.path).whole
    assert "they were taken away" in verify(log.path, signatures=Signatures([KEY])).problem


async def test_what_an_ended_process_left_half_done_is_done_at_the_next_start(
    tmp_path: Path, record: MakeRecord
) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL)
    await filled(log, record)
    await log.close()
    (tmp_path / "audit.log-000001.gz.part").write_bytes(b"half")
    (tmp_path / "audit.log-000002.gz").write_bytes(b"whatever: the plain one is still there")
    again = ChainLog(log.path, pace=SMALL, keeping=Keeping(compress=True))
    again.tick()
    await until(lambda: again._tidying is None)
    await again.close()
    assert [name for name in names(tmp_path) if "-" in name] == [f"audit.log-00000{number}.gz" for number in (1, 2, 3)]
    assert (verify(log.path).problem, verify(log.path).records) == ("", 30)


async def test_a_file_that_cannot_be_packed_stays_and_is_told(tmp_path: Path, record: MakeRecord) -> None:
    failures: list[None] = []
    log = ChainLog(tmp_path / "audit.log", pace=SMALL)
    await filled(log, record)
    await log.close()
    (tmp_path / "audit.log-000001.gz.part").mkdir()
    found = Archive(log.path, Keeping(compress=True), lambda: failures.append(None))
    assert found.tidy().result() == []
    found.close()
    assert len(failures) == 1
    assert len(closed_segments(log.path)) == 3
    assert verify(log.path).whole


async def test_packing_ends_when_the_service_does(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "audit.log", pace=SMALL)
    await filled(log, record)
    await log.close()
    stopped = Archive(log.path, Keeping(compress=True))
    stopped._stopping.set()
    assert stopped.tidy().result() == []
    stopped.close()
    assert not [name for name in names(tmp_path) if name.endswith(".gz")]
