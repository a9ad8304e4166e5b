"""A log goes on where it ended, whatever ended it, and touches no file that is not its own."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.audit.files import anchor_of
from secure_rpc.audit.verify import verify
from secure_rpc.batching import SLICE
from secure_rpc.configuration import ConfigurationError
from secure_rpc.observing import CallRecord

LogOf = Callable[[int], Path]
MakeRecord = Callable[..., CallRecord]
WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.observing import CallRecord

async def write():
    log = ChainLog(Path(sys.argv[1]))
    for number in itertools.count():
        for _ in range(50):
            log.add(CallRecord(0.0, str(number), "/a/B", "unary", None, "", "", "", "", "OK", "", 0.0))
        await log.durable()
        print(50 * (number + 1), flush=True)

asyncio.run(write())
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def events_of(path: Path) -> list[str]:
    return [line["event"] for line in lines_of(path)]


async def test_what_comes_together_is_written_together(tmp_path: Path, record: MakeRecord) -> None:
    written: list[int] = []
    all_written = asyncio.Event()

    def note(count: int) -> None:
        written.append(count)
        if sum(written) == 10 * SLICE:
            all_written.set()

    log = ChainLog(tmp_path / "audit.log", on_written=note)
    for number in range(10 * SLICE):
        log.add(record(number))
    async with asyncio.timeout(10):
        await all_written.wait()
    assert written == [10 * SLICE]  # each write syncs two files, and its thread wants the interpreter
    await log.close()


# --- from start to end -------------------------------------------------------------------------------------------


async def test_a_log_says_when_it_began_and_that_it_ended_in_order(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "logs" / "audit.log")
    log.add(record(1))
    await log.close()
    first, call, last = lines_of(log.path)
    assert (first["event"], call["event"], last["event"]) == ("chain_started", "call", "chain_stopped")
    assert [line["seq"] for line in (first, call, last)] == [1, 2, 3]
    assert first["prev"] == "0" * 64
    assert {line["chain"] for line in (first, call, last)} == {log.chain_id}
    assert call["call_id"] == "call-1"
    assert verify(log.path).whole


async def test_log_and_anchor_are_for_their_owner_alone(tmp_path: Path) -> None:
    log = ChainLog(tmp_path / "audit.log")
    await log.close()
    assert {path.stat().st_mode & 0o777 for path in (log.path, anchor_of(log.path))} == {0o600}


async def test_a_log_goes_on_after_it_was_closed(tmp_path: Path, record: MakeRecord) -> None:
    for number in range(3):
        log = ChainLog(tmp_path / "audit.log")
        log.add(record(number))
        await log.close()
    assert events_of(log.path) == [
        *("chain_started", "call", "chain_stopped"),
        *("chain_resumed", "call", "chain_stopped") * 2,
    ]
    assert verify(log.path).records == 3
    assert verify(log.path).whole


async def test_records_leave_in_the_order_in_which_they_came(tmp_path: Path, record: MakeRecord) -> None:
    log = ChainLog(tmp_path / "audit.log")
    for number in range(1000):
        log.add(record(number))
    await log.durable()
    calls = [line["call_id"] for line in lines_of(log.path) if line["event"] == "call"]
    assert calls == [f"call-{number}" for number in range(1000)]
    await log.close()


def test_without_an_event_loop_records_are_written_at_once(log_of: LogOf) -> None:
    assert verify(log_of(3)).records == 3


@pytest.mark.parametrize(
    ("said", "key", "written"),
    [
        ({"tenant": "a\ud800b"}, "tenant", "a?b"),
        ({"method": 'a"\n\x00\u2028'}, "method", 'a"\n\x00\u2028'),
        ({"tenant": 2**70}, "tenant", 2**70),
    ],
)
def test_no_text_of_a_caller_breaks_the_chain(
    tmp_path: Path, record: MakeRecord, said: dict[str, Any], key: str, written: Any
) -> None:
    log = ChainLog(tmp_path / "audit.log")
    for number in range(3):
        log.add(record(number, **said))
    assert verify(log.path).records == 3
    assert verify(log.path).whole
    assert lines_of(log.path)[1][key] == pytest.approx(written)


# --- after a crash -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 60, -1])
def test_a_torn_last_line_is_moved_aside(log_of: LogOf, tmp_path: Path, cut: int) -> None:
    path = log_of(3)
    *whole, last = path.read_bytes().splitlines(keepends=True)
    torn = last[:cut]
    anchored = b"".join(whole)
    path.write_bytes(anchored + torn)
    _anchor_at(path, whole[-1])
    log = ChainLog(path)
    assert lines_of(path)[-1]["event"] == "chain_resumed"
    assert lines_of(path)[-1]["torn_bytes"] == len(torn)
    [aside] = tmp_path.glob("audit.log.torn-*")
    assert aside.read_bytes() == torn
    assert verify(log.path).whole


def _anchor_at(path: Path, line: bytes) -> None:
    """Write the anchor that a writer leaves that was stopped amid the next line."""
    content = orjson.loads(line)
    head = hashlib.sha256(line.rstrip(b"\n")).hexdigest()
    anchor_of(path).write_bytes(orjson.dumps({"chain": content["chain"], "seq": content["seq"], "head": head}))


@pytest.mark.parametrize("torn", [b"{", b'{"chain"', b'{"chain":"abc","seq":1,"prev":"000'])
def test_a_log_torn_in_its_first_line_begins_anew(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(torn)
    ChainLog(path)
    assert events_of(path) == ["chain_started"]
    [aside] = tmp_path.glob("audit.log.torn-*")
    assert aside.read_bytes() == torn
    assert verify(path).whole


def test_what_was_durable_outlives_kill_9_and_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        output = writer.stdout
        assert output is not None
        told = [output.readline() for _ in range(20)]
        writer.kill()
        told += output.read().splitlines()
    ChainLog(path)
    finding = verify(path)
    assert finding.whole, finding.problem
    assert finding.records >= int(told[-1])
    assert events_of(path)[-1] == "chain_resumed"


# --- what is not its own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"127.0.0.1 localhost\n",
        b"127.0.0.1 localhost",
        b"127.0.0.1 localhost\nlast line without an end",
        b"\n",
        b"{}\n",
        b'{"chain":"a"}\n',
        b'{"chain":"a","seq":"x"}\n',
        b"[1]\n",
        b"\xff\xfe\n",
        b"x" * 2_000_000,
    ],
)
def test_a_file_that_is_no_log_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no audit log; name another file, or move it away"):
        ChainLog(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["the tail cut off", "the last line edited", "another log in its place"])
def test_a_log_that_contradicts_its_anchor_is_not_gone_on_with(
    log_of: LogOf, tmp_path: Path, record: MakeRecord, name: str
) -> None:
    """To go on would overwrite the anchor, and so hide what was done."""
    path = log_of(3)
    lines = path.read_bytes().splitlines(keepends=True)
    if name == "the tail cut off":
        lines = lines[:-1]
    elif name == "the last line edited":
        lines[-1] = lines[-1].replace(b"alice", b"bob")
    else:
        other = ChainLog(tmp_path / "other.log")
        for number in range(9):
            other.add(record(number))
        lines = other.path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    anchored = anchor_of(path).read_bytes()
    with pytest.raises(ConfigurationError, match="it was cut off or changed after line 4 was written"):
        ChainLog(path)
    assert anchor_of(path).read_bytes() == anchored
    assert not verify(path).whole


@pytest.mark.parametrize("name", ["folder", "folder/below", "file/below"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "below").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"audit.file: .* cannot be written \(.*\); choose another place"):
        ChainLog(tmp_path / name)


def test_a_log_that_was_emptied_beside_its_anchor_is_not_begun_anew(log_of: LogOf) -> None:
    path = log_of(3)
    path.write_bytes(b"")
    anchored = anchor_of(path).read_bytes()
    with pytest.raises(ConfigurationError, match=r"is empty, but .* tells of lines that were written"):
        ChainLog(path)
    assert anchor_of(path).read_bytes() == anchored
    anchor_of(path).unlink()
    assert events_of(ChainLog(path).path) == ["chain_started"]


def test_two_processes_do_not_write_one_log(tmp_path: Path) -> None:
    first = ChainLog(tmp_path / "audit.log")
    with pytest.raises(ConfigurationError, match=r"another process writes to .*; stop it"):
        ChainLog(first.path)
    assert verify(first.path).whole
